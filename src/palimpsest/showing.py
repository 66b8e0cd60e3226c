"""A run and the number of a step → the batch that it trained on, with what is known of its losses.

The batch is a pure function of the spec and the step. Losses come from weights where they are kept,
else from what training measured as it went, else they are unknown.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group
from rich.text import Text
from tokenizers import Tokenizer
from transformers import AutoConfig

from palimpsest import store
from palimpsest.core.base_losses import piece_losses
from palimpsest.core.models import load_causal_lm
from palimpsest.core.rows import Batch, Piece, Row
from palimpsest.core.streams import Stream
from palimpsest.faults import Fault
from palimpsest.listing import no_such_run
from palimpsest.plan import Artifact, Plan
from palimpsest.stages.train import base_weights, stream_of

Inputs = dict[str, Any]
MOMENTS = ("before", "after")


@dataclass(frozen=True, eq=False)
class Epoch:
    """One training artifact of a run: where it lies, and the steps it took."""

    artifact: Artifact
    folder: Path
    first_step: int
    last_step: int

    @cached_property
    def inputs(self) -> Inputs:
        """The folders it was built from."""
        return {role: _find(given) for role, given in self.artifact.inputs.items()}

    @cached_property
    def start(self) -> Path:
        """The weights of the run's base."""
        return base_weights(self.inputs["base"], base_step=self.artifact.spec["base_step"])

    @cached_property
    def stream(self) -> Stream:
        """The batches it trained on."""
        config = AutoConfig.from_pretrained(self.start, local_files_only=True)
        return stream_of(self.artifact.spec, self.inputs, config=config)

    @property
    def trains(self) -> bool:
        """Whether it trained; an edit has no batch."""
        return bool(self.artifact.spec["phase"]["kind"] == "train")

    def batch(self, step: int) -> Batch:
        """Return the batch of a step that counts from the run's start."""
        return self.stream.batch(step - self.first_step - 1)


@dataclass
class Shown:
    """One piece of a batch: the new text of one number, or one replayed row."""

    source: str
    piece: int
    rows: tuple[Row, ...]
    last_seen_step: int | None = None
    losses: dict[str, float | None] = field(default_factory=dict)
    known_from: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> Piece:
        """What its loss is taken on."""
        rows = tuple(row for row in self.rows if row.n_context < row.n_targets)
        n_tokens = sum(row.n_targets - row.n_context for row in rows)
        return Piece(self.piece, self.rows[0].position, n_tokens, rows)


def shown_step(plan: Plan, run: str, step: int) -> dict[str, Any]:
    """Return a step of a run as plain content; Fault where there is no such run or step."""
    name, artifacts = _run(plan, run)
    epochs = list(_epochs(artifacts))
    epoch = next((e for e in epochs if e.first_step < step <= e.last_step), None)
    if epoch is None:
        raise Fault(f"{name}: no step {step}; it took the steps 1 to {epochs[-1].last_step}")
    pieces = _pieces(epoch.batch(step)) if epoch.trains else []
    for piece in pieces:
        piece.last_seen_step = _last_seen(piece, step, epochs)
    for moment, weights_step in (("before", step - 1), ("after", step)):
        _enter_losses(pieces, moment, weights_step, epoch=epoch, epochs=epochs)
    log = pd.read_parquet(epoch.folder / "log.parquet").set_index("step").loc[step].to_dict()
    return {
        "run": name,
        "step": step,
        "phase": epoch.artifact.spec["phase"]["kind"],
        "epoch": int(log["epoch"]) + 1,
        "learning_rate": _number(log.get("learning_rate")),
        "loss_new_nats": _number(log.get("loss_new_nats")),
        "loss_replay_nats": _number(log.get("loss_replay_nats")),
        "pieces": [_content(piece, epoch) for piece in pieces],
    }


def _run(plan: Plan, asked: str) -> tuple[str, list[Artifact]]:
    """Return the one run whose name is, or holds, what was asked for, and its trainings."""
    tables = next(iter(plan.by_stage["tables"].values()))
    runs = {entry["run"]: entry["trains"] for entry in tables.spec["runs"]}
    found = [asked] if asked in runs else [name for name in runs if asked in name]
    if len(found) != 1:
        raise no_such_run(asked, runs, found)
    trains = tables.inputs["trains"]
    assert isinstance(trains, list)
    return found[0], [trains[place] for place in runs[found[0]]]


def _epochs(artifacts: list[Artifact]) -> Iterator[Epoch]:
    for artifact in artifacts:
        folder = store.find(artifact.stage, artifact.name)
        said = store.read_json(folder / "phase.json")
        yield Epoch(artifact, folder, said["first_step"], said["last_step"])


def _find(given: Artifact | list[Artifact]) -> Path | list[Path]:
    if isinstance(given, list):
        return [store.find(one.stage, one.name) for one in given]
    return store.find(given.stage, given.name)


def _pieces(batch: Batch) -> list[Shown]:
    """Return the new pieces of a batch, each of one or more rows, and every replayed row."""
    by_piece = itertools.groupby(batch.new, key=lambda row: (row.source, row.piece))
    new = [Shown(source, piece, tuple(rows)) for (source, piece), rows in by_piece]
    return new + [Shown("replay", -1, (row,)) for row in batch.replay]


def _last_seen(piece: Shown, step: int, epochs: Sequence[Epoch]) -> int | None:
    """Return the last step before this one that trained on some of the piece's counted tokens."""
    source, targets = piece.source, _targets(piece.measured.rows)
    for epoch in reversed(epochs):
        if not epoch.trains:
            continue
        for before in range(min(step - 1, epoch.last_step), epoch.first_step, -1):
            batch = epoch.batch(before)
            rows = batch.replay if source == "replay" else batch.new
            if any(row.source == source and targets & _targets((row,)) for row in rows):
                return before
    return None


def _targets(rows: Sequence[Row]) -> set[int]:
    """Return where the counted targets of rows stand; of a question, its number."""
    if rows and rows[0].source == "question":
        return {row.position for row in rows}
    return {
        place
        for row in rows
        for place in range(row.position + row.n_context + 1, row.position + row.n_targets + 1)
    }


def _enter_losses(
    pieces: list[Shown], moment: str, step: int, *, epoch: Epoch, epochs: list[Epoch]
) -> None:
    """Enter the losses under the weights after `step`, and where they are known from."""
    weights = _weights(step, epochs)
    if weights is not None and pieces:
        losses = piece_losses(load_causal_lm(weights), [piece.measured for piece in pieces])
        found: list[float | None] = [float(loss) for loss in losses.loss_nats]
        sources = ["weights kept after this step"] * len(found)
    else:
        live = pd.read_parquet(epoch.folder / "live.parquet")
        live = live[live.step == step]
        measured = dict(zip(live.piece, live.loss_nats, strict=True))
        found = [measured.get(p.piece) if p.source != "replay" else None for p in pieces]
        sources = ["unknown" if loss is None else "training" for loss in found]
    for piece, loss, source in zip(pieces, found, sources, strict=True):
        piece.losses[moment], piece.known_from[moment] = loss, source


def _weights(step: int, epochs: list[Epoch]) -> Path | None:
    """Return the folder of the weights after so many steps, if they are kept."""
    if step == 0:
        return epochs[0].start
    for epoch in epochs:
        said = json.loads((epoch.folder / "phase.json").read_text("utf-8"))
        for kept in said["checkpoints"]:
            if kept["step"] == step:
                return epoch.folder / str(kept["folder"])
    return None


def _content(piece: Shown, epoch: Epoch) -> dict[str, Any]:
    tokenizer = Tokenizer.from_file(str(epoch.start / "tokenizer.json"))
    first = piece.rows[0]
    tokens = [*first.tokens.tolist(), *(t for row in piece.rows[1:] for t in row.tokens[1:])]
    content = {
        "source": piece.source,
        "piece": None if piece.source == "replay" else piece.piece,
        "position": first.position,
        "n_tokens": sum(row.n_targets for row in piece.rows),
        "n_context": sum(row.n_context for row in piece.rows),
        "text": tokenizer.decode([int(token) for token in tokens], skip_special_tokens=False),
        "last_seen_step": piece.last_seen_step,
        **{f"loss_{moment}_nats": loss for moment, loss in piece.losses.items()},
        **{f"loss_{moment}_from": source for moment, source in piece.known_from.items()},
    }
    return content | _document(first, epoch)


def _document(row: Row, epoch: Epoch) -> dict[str, Any]:
    """Return which document a row's first target stands in, and its domain."""
    if row.source == "question":
        return {}
    folder = epoch.inputs["new" if row.source == "new" else "original"]
    documents = pd.read_parquet(folder / "train_documents.parquet")
    place = int(np.searchsorted(documents.start_token, row.position + 1, side="right")) - 1
    found = documents.iloc[place]
    return {"document": int(found.document), "domain": str(found.domain)}


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def step_text(content: dict[str, Any]) -> Group:
    """Draw what `shown_step` returns."""
    rate = content["learning_rate"]
    head = f"{content['run']}, step {content['step']}, epoch {content['epoch']}"
    lines = [Text(head + ("" if rate is None else f", learning rate {rate:.3g}"), "bold")]
    if not content["pieces"]:
        lines.append(Text(f"{content['phase']}: this step edits the weights and has no batch"))
    for piece in content["pieces"]:
        lines += [Text(""), Text(_heading(piece), "bold"), Text(_fate(piece)), Text(piece["text"])]
    return Group(*lines)


def _heading(piece: dict[str, Any]) -> str:
    what = {"new": "new, piece", "question": "question", "replay": "replayed"}[piece["source"]]
    number = "" if piece["piece"] is None else f" {piece['piece']}"
    place = f", {piece['domain']}, document {piece['document']}" if "domain" in piece else ""
    context = f", {piece['n_context']} of them context" if piece["n_context"] else ""
    where = f"{place}, from token {piece['position']}" if place else ""
    return f"{what}{number}{where}, {piece['n_tokens']} tokens{context}"


def _fate(piece: dict[str, Any]) -> str:
    seen = piece["last_seen_step"]
    losses = [
        f"loss {moment} " + _known(piece[f"loss_{moment}_nats"], piece[f"loss_{moment}_from"])
        for moment in MOMENTS
    ]
    return "; ".join(["first seen" if seen is None else f"last seen at step {seen}", *losses])


def _known(loss: float | None, source: str) -> str:
    return "unknown (no weights kept there)" if loss is None else f"{loss:.4f} nats ({source})"
