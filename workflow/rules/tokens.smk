# tokens: token files.
# In:  corpora.
# Out: one folder per corpus: flat token arrays and where documents begin.
rule tokens:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("tokens", wildcards.batch)],
    output:
        touch(".work/done/tokens/{batch}"),
    log:
        ".work/logs/tokens/{batch}.log",
    threads: 1
    resources:
        **S.resources("tokens"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build tokens {wildcards.batch} 2>&1 | tee -a {log} >&2"
