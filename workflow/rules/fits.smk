# fits: laws.
# In:  tables.
# Out: one folder: parameters, intervals, predictions, or why there are none.
rule fits:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("fits", wildcards.batch)],
    output:
        touch(".work/done/fits/{batch}"),
    log:
        ".work/logs/fits/{batch}.log",
    threads: 1
    resources:
        **S.resources("fits"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build fits {wildcards.batch} 2>&1 | tee -a {log} >&2"
