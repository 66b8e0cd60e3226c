# report: the page.
# In:  tables, laws.
# Out: one folder: page, figures and the data behind them.
rule report:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("report", wildcards.batch)],
    output:
        touch(".work/done/report/{batch}"),
    log:
        ".work/logs/report/{batch}.log",
    threads: 1
    resources:
        **S.resources("report"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build report {wildcards.batch} 2>&1 | tee -a {log} >&2"
