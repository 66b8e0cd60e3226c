# recall: what is remembered.
# In:  bases, phases, tokens.
# Out: one folder per run: loss of every piece at every checkpoint, held-out losses, drift.
rule recall:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("recall", wildcards.batch)],
    output:
        touch(".work/done/recall/{batch}"),
    log:
        ".work/logs/recall/{batch}.log",
    threads: 1
    resources:
        **S.resources("recall"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build recall {wildcards.batch} 2>&1 | tee -a {log} >&2"
