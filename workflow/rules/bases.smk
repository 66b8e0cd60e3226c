# bases: base models.
# In:  tokens of the original domain, tokenizer.
# Out: one folder per size and seed: log-spaced checkpoints of its pretraining.
rule bases:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("bases", wildcards.batch)],
    output:
        touch(".work/done/bases/{batch}"),
    log:
        ".work/logs/bases/{batch}.log",
    threads: 1
    resources:
        **S.resources("bases"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build bases {wildcards.batch} 2>&1 | tee -a {log} >&2"
