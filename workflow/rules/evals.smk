# evals: benchmarks by lm-eval.
# In:  bases or phases.
# Out: one folder per evaluated checkpoint: results and items.
rule evals:
    input:
        lambda wildcards: [ancient(path) for path in S.batch_inputs("evals", wildcards.batch)],
    output:
        touch(".work/done/evals/{batch}"),
    log:
        ".work/logs/evals/{batch}.log",
    threads: 1
    priority: 1  # dearer than recall, which waits for the same runs: long batches go first
    resources:
        **S.resources("evals"),
    params:
        python=sys.executable,
    shell:
        "{params.python} -m palimpsest.worker build evals {wildcards.batch} 2>&1 | tee -a {log} >&2"
