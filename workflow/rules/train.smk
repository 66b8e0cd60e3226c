# train: trained phases.
# In:  bases or earlier phases, tokens, probes.
# Out: one folder per epoch of a phase: log, checkpoints, optimiser state.
rule train:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("train", wildcards.batch)],
    output:
        touch(".work/done/train/{batch}"),
    log:
        ".work/logs/train/{batch}.log",
    threads: 1
    resources:
        **S.resources("train"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build train {wildcards.batch} 2>&1 | tee -a {log} >&2"
