"""Eight checkpoints of one size: one process of ours against eight calls of `lm_eval`.

Takes checkpoints of the built study below runs/ (`make run` first) and the tasks that come along,
all items. Both ways use one thread. Prints wall seconds of both, process start included, whether
every acc, acc_norm and perplexity is equal to the last bit, and the largest relative difference
between our standard errors and those of the command line (its bootstrap for perplexity).

Run from the project's root: python bench/evals.py [MODEL] [FOLDER OF runs/]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

N_CHECKPOINTS, BATCH_SIZE, TASK_DIR = 8, 32, "data/tasks"
TASKS = ("lambada_local", "hellaswag_local")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
OURS = """
import json, sys
from pathlib import Path
import torch
from palimpsest.stages import evals
torch.set_num_threads(1)
spec, folders, out = json.loads(sys.argv[1])
for number, folder in enumerate(folders):
    (Path(out) / str(number)).mkdir()
    inputs = {"weights": Path(folder), "known": Path(out) / "known"}
    evals.build(spec, inputs, Path(out) / str(number))
"""
Results = dict[tuple[str, str], tuple[float, float]]


def main() -> None:
    """Evaluate both ways and compare."""
    model = sys.argv[1] if len(sys.argv) > 1 else "neox-100k"
    runs = Path(sys.argv[2] if len(sys.argv) > 2 else "runs")
    found = sorted(runs.glob(f"bases/{model}_s*/step-*"))[:N_CHECKPOINTS]
    if len(found) < N_CHECKPOINTS:
        raise SystemExit(
            f"{runs}/bases: {len(found)} checkpoints of {model}, needs {N_CHECKPOINTS}"
        )
    ours, our_seconds = one_process(found)
    theirs, their_seconds = many_calls(found)
    errors = [
        abs(a[key][1] / b[key][1] - 1) for a, b in zip(ours, theirs, strict=True) for key in a
    ]
    equal = all(a[key][0] == b[key][0] for a, b in zip(ours, theirs, strict=True) for key in a)
    print(f"{model}: {N_CHECKPOINTS} checkpoints, tasks {', '.join(TASKS)}, all items")
    share = our_seconds / their_seconds
    print(f"ours {our_seconds:.1f} s, lm_eval {their_seconds:.1f} s: {share:.1%}")
    print(f"values equal: {equal}; standard errors differ by {max(errors):.2%} at most")
    if not equal:
        raise SystemExit("values differ")


def one_process(folders: list[Path]) -> tuple[list[Results], float]:
    """Run the evals stage on every checkpoint in one fresh process."""
    spec = {"tasks": TASKS, "task_dir": TASK_DIR, "limit": None, "batch_size": BATCH_SIZE}
    with tempfile.TemporaryDirectory() as out:
        # A checkpoint's folder lies in its artifact: the stage takes the two apart.
        given = json.dumps([spec | {"folder": "."}, [str(folder) for folder in folders], out])
        seconds = timed([sys.executable, "-c", OURS, given])
        tables = [pd.read_parquet(f"{out}/{i}/results.parquet") for i in range(len(folders))]
    return [
        {(row.task, row.metric): (row.value, row.stderr) for row in table.itertuples()}
        for table in tables
    ], seconds


def many_calls(folders: list[Path]) -> tuple[list[Results], float]:
    """Call the command line once per checkpoint."""
    results, seconds = [], 0.0
    for folder in folders:
        with tempfile.TemporaryDirectory() as out:
            seconds += timed(command(folder, Path(out)))
            results.append(read(Path(out)))
    return results, seconds


def command(folder: Path, out: Path) -> list[str]:
    """Return the call that a person would type."""
    options = {
        "--model": "hf",
        "--model_args": f"pretrained={folder},dtype=float32",
        "--tasks": ",".join(TASKS),
        "--include_path": TASK_DIR,
        "--batch_size": str(BATCH_SIZE),
        "--device": "cpu",
        "--output_path": str(out),
    }
    return [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        *(word for pair in options.items() for word in pair),
    ]


def read(out: Path) -> Results:
    """Return (value, standard error) by task and metric from what the command line wrote."""
    (file,) = out.rglob("results_*.json")
    results = json.loads(file.read_text())["results"]
    return {
        (task, name.removesuffix(",none")): (
            value,
            found[f"{name.removesuffix(',none')}_stderr,none"],
        )
        for task, found in results.items()
        for name, value in found.items()
        if name.endswith(",none") and "_stderr" not in name
    }


def timed(call: list[str]) -> float:
    """Return the wall seconds of a process that has to succeed."""
    began = time.perf_counter()
    done = subprocess.run(call, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
