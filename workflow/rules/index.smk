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
# In:  the report's index.
# Out: a file that names the report in results/. What of it stands is shown by `snakemake --report`;
#      it is declared only when it stands, so that no failing job deletes it.
rule results:
    input:
        [ancient(path) for path in S.results_inputs()],
    output:
        S.results_target(),
        [
            report(path, caption=caption, category=category, labels={"what": what})
            for path, caption, category, what in S.results_shown()
        ],
    log:
        ".work/logs/results.log",
    params:
        python=sys.executable,
        key=S.results_key,
    shell:
        "{params.python} -m palimpsest.worker publish {params.key} 2> {log}"
