# tables: tidy tables.
# In:  everything measured.
# Out: one folder: one table per kind of observation.
rule tables:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("tables", wildcards.batch)],
    output:
        touch(".work/done/tables/{batch}"),
    log:
        ".work/logs/tables/{batch}.log",
    threads: 1
    resources:
        **S.resources("tables"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build tables {wildcards.batch} 2>&1 | tee -a {log} >&2"
