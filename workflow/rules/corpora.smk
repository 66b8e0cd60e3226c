# corpora: text and tokenizer.
# In:  the files that params.yaml names.
# Out: one folder per corpus (train and held-out documents), one tokenizer.
rule corpora:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("corpora", wildcards.batch)],
    output:
        touch(".work/done/corpora/{batch}"),
    log:
        ".work/logs/corpora/{batch}.log",
    threads: 1
    resources:
        **S.resources("corpora"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build corpora {wildcards.batch} 2>&1 | tee -a {log} >&2"
