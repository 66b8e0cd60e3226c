# probes: what is measured on a base before training.
# In:  bases, tokens.
# Out: learning-rate landscapes, rates for asked decreases, best, edge.
rule probes:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("probes", wildcards.batch)],
    output:
        touch(".work/done/probes/{batch}"),
    log:
        ".work/logs/probes/{batch}.log",
    threads: 1
    resources:
        **S.resources("probes"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build probes {wildcards.batch} 2>&1 | tee -a {log} >&2"
