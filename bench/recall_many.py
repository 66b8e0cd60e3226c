"""200 checkpoints × 200 batches at the default study's smallest size, killed in the middle.

One process runs the recall stage; a watcher reads its memory. It is killed after about half of the
checkpoints, and a second attempt goes on from its saved state. Printed: wall seconds, memory after
the first tenth and at the end, checkpoints left to the second attempt, and the time that bare
forward passes of the same tokens take (logits only, the same shapes, measured in this process).

Run from the project's root: python bench/recall_many.py
"""

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recall import CONTEXT, SIZES, VOCAB, forward, make

from palimpsest.core.live import live_frame
from palimpsest.core.losses import micro_batch_tokens, pack
from palimpsest.core.models import device, save_causal_lm
from palimpsest.core.streams import make_stream
from palimpsest.stages import recall

N_CHECKPOINTS, N_BATCHES, BATCH_TOKENS = 200, 200, 512
STREAM = {
    "kind": "chunks",
    "sequence_length": CONTEXT,
    "batch_tokens": BATCH_TOKENS,
    "n_new_tokens": N_BATCHES * BATCH_TOKENS,
}
SPEC = {
    "every": 1,
    "held_out_tokens": CONTEXT,
    "drift_tokens": CONTEXT,
    "checkpoints": "all",
    "per_token": False,
    "phases": [
        {
            "phase": {"kind": "train", "stream": STREAM, "replay_fraction": 0.0},
            "epoch": 0,
            "seed": 0,
            "base_step": "final",
        }
    ],
}
SHAPE = SIZES["neox-25k"]


def main() -> None:
    """Measure, kill, go on, and compare with the forward passes alone."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs = write_inputs(root)
        one = forward_seconds(inputs)
        first = attempt(inputs, root / "out", kill_after=0.5 * 1.2 * one * N_CHECKPOINTS)
        second = attempt(inputs, root / "out", kill_after=None)
        table = pd.read_parquet(root / "out" / "recall.parquet")
        n_entries = int((table.measured == "checkpoint").sum())
    limit = one * (N_CHECKPOINTS + 1)
    print(f"{n_entries} entries of the matrix, {BATCH_TOKENS} tokens each, one thread")
    for name, (seconds, memory) in (("killed", first), ("went on", second)):
        tenth = memory[max(1, len(memory) // 10)]
        print(f"{name:8} {seconds:6.1f} s  memory {tenth:.0f} MB → {memory[-1]:.0f} MB")
    print(f"together {first[0] + second[0]:.1f} s; forward passes to logits alone {limit:.1f} s")


def attempt(inputs: dict, out: Path, *, kill_after: float | None) -> tuple[float, list[float]]:
    """Run the stage in a process of its own; return its seconds and its memory in MB over time."""
    out.mkdir(exist_ok=True)
    process = multiprocessing.get_context("spawn").Process(target=build, args=(inputs, out))
    process.start()
    while not (out / "began").exists():
        time.sleep(0.05)
    began, memory = time.perf_counter(), []
    while process.is_alive():
        memory.append(resident_megabytes(process.pid))
        if kill_after is not None and time.perf_counter() - began > kill_after:
            process.kill()
            process.join()
        process.join(0.25)
    (out / "began").unlink()
    if kill_after is None and process.exitcode != 0:
        raise SystemExit("the stage failed")
    return time.perf_counter() - began, [one for one in memory if one > 0]


def build(inputs: dict, out: Path) -> None:
    """Build the artifact, saving every five seconds."""
    torch.set_num_threads(1)
    os.environ["PALIMPSEST_SAVE_SECONDS"] = "5"
    (out / "began").touch()
    recall.build(SPEC, inputs, out)


def resident_megabytes(pid: int) -> float:
    """Return a process's resident memory, 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def forward_seconds(inputs: dict) -> float:
    """Return the seconds of bare forward passes over all batches, the median of five."""
    model = make(SHAPE, seed=0)
    new = np.load(inputs["new"] / "train.npy")
    stream = make_stream(STREAM, new=new, original=None, replay_fraction=0.0, seed=0)
    rows = [row for piece in stream.pieces for row in piece.rows]
    packed = pack(rows, max_tokens=micro_batch_tokens(model), device=device())
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        forward(model, packed, with_loss=False)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


def write_inputs(root: Path) -> dict:
    """Write random tokens, a base, and a training with 200 checkpoints of random weights."""
    nothing = root / "no-tokenizer"
    nothing.mkdir()
    inputs = {role: root / role for role in ("new", "original", "base")}
    for seed, role in enumerate(("new", "original")):
        write_tokens(inputs[role], seed=seed)
    save_causal_lm(make(SHAPE, seed=0), inputs["base"] / "step-1", nothing)
    listed = {"final": "step-1", "checkpoints": [{"step": 1, "folder": "step-1"}]}
    (inputs["base"] / "base.json").write_text(json.dumps(listed))
    train = root / "train"
    save_causal_lm(make(SHAPE, seed=1), train / "step-1", nothing)
    for step in range(2, N_CHECKPOINTS + 1):
        shutil.copytree(train / "step-1", train / f"step-{step}")
    write_phase(train)
    return inputs | {"trains": [train]}


def write_phase(train: Path) -> None:
    """Write what the training says of itself; no piece was visited."""
    kept = [{"step": step, "folder": f"step-{step}"} for step in range(1, N_CHECKPOINTS + 1)]
    phase = {"checkpoints": kept, "final": kept[-1]["folder"]}
    (train / "phase.json").write_text(json.dumps(phase))
    integers = dict.fromkeys(("piece", "visit", "position", "n_tokens"), "int64")
    passes = pd.DataFrame(columns=[*integers, "first_step", "last_step"]).astype(integers)
    passes.to_parquet(train / "pieces.parquet")
    live_frame([]).to_parquet(train / "live.parquet")


def write_tokens(folder: Path, *, seed: int) -> None:
    """Write a corpus of random tokens, four bytes each."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for part, n in (("train", N_BATCHES * BATCH_TOKENS + 4 * CONTEXT), ("held_out", 4 * CONTEXT)):
        np.save(folder / f"{part}.npy", random.integers(0, VOCAB, n).astype(np.uint16))
        document = {"document": 0, "domain": "all", "start_token": 0}
        counted = pd.DataFrame([document | {"n_tokens": n, "n_bytes": 4 * n}])
        counted.to_parquet(folder / f"{part}_documents.parquet")


if __name__ == "__main__":
    main()
