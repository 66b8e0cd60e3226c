# index: writes which artifacts of a stage the present params ask for, then parks all others.
# In:  the stage's batches, the indexes before it.
# Out: an index named by the hash of what it lists; a changed study is thereby a changed file.
rule index:
    input:
        lambda wildcards: [ancient(path) for path in S.index_inputs(wildcards.stage)],
    output:
        "runs/{stage}/index-{key}.json",
    log:
        ".work/logs/index/{stage}-{key}.log",
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker index {wildcards.stage} {wildcards.key} 2> {log}"


# tidy: parks what an orphaned job committed after the index was written.
rule tidy:
    output:
        touch(".work/done/tidy/{stage}-{key}-{surplus}"),
    log:
        ".work/logs/tidy/{stage}-{key}-{surplus}.log",
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker tidy {wildcards.stage} {wildcards.key} 2> {log}"


# results: copies report and tables to where a person opens them.
rule results:
    input:
        ancient("runs/report/index-{key}.json"),
    output:
        "results/report/.key-{key}",
    log:
        ".work/logs/results/{key}.log",
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker publish {wildcards.key} 2> {log}"
