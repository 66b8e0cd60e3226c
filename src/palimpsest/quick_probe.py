"""A local model folder and a text → the learning-rate landscape, without any study.

The same measurement as the probes stage: `core/probing.py` on the first checkpoint, `chunks` of the
text as batches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel

from palimpsest.core.flat import FlatWeights
from palimpsest.core.held_out import sample_rows
from palimpsest.core.models import count_parameters, load_causal_lm
from palimpsest.core.probing import Bench, Record, probe_batch, steps_to_probe
from palimpsest.core.rate_summary import landscape_frame, rates_frame, summary
from palimpsest.core.records import open_text, read_records, session_of, text_in
from palimpsest.core.rows import Row
from palimpsest.core.streams import Stream, make_stream
from palimpsest.faults import Fault
from palimpsest.params import Optimizer
from palimpsest.progress import track

MAX_CHARACTERS = 2**24  # of a text: 4 million tokens, of which a probe takes some thousand
N_ORIGINAL_TOKENS = 2048  # of the replay text's end: measured on, never replayed
RATES = {"adamw": (1e-5, 1e-1), "sgd": (1e-3, 1e1)}  # from far below 1 % to beyond the edge
PLOTS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Asked:
    """What to probe and how; `rates` are lowest, highest and points of the landscape."""

    model: Path
    text: Path
    replay_text: Path | None
    replay_fraction: float
    decreases: tuple[float, ...]
    optimizer: str
    batches: int
    batch_tokens: int
    sequence_length: int
    warm_steps: int
    rates: tuple[float, float, int]
    seed: int


@dataclass(frozen=True)
class Measured:
    """What a probe found, and of which model."""

    asked: Asked
    n_params: int
    n_params_total: int
    records: list[Record]
    spec: dict[str, Any]


def measure(asked: Asked) -> Measured:
    """Probe the model on batches that lie evenly over the text; a Fault says what is missing."""
    _check(asked)
    model, tokenizer = _load(asked.model)
    replayed, kept_out = _split(asked, tokenizer)
    stream = _stream(asked, model, tokenizer, replayed)
    spec = _spec(asked)
    bench = Bench(spec, model, FlatWeights(model), stream, _original(asked, kept_out))
    steps = steps_to_probe(stream.n_steps, batches=asked.batches, warm_steps=asked.warm_steps)
    digest, records = bench.flat.digest(), []
    for batch, step in enumerate(track(steps, "probe", "batch")):
        records.append(probe_batch(bench, batch=batch, step=step))
    if bench.flat.digest() != digest:
        raise RuntimeError("the probe has changed the weights that it measures")
    return Measured(asked, *count_parameters(model), records=records, spec=spec)


def content(measured: Measured) -> dict[str, Any]:
    """Return the result as plain JSON: rates by target, the landscape's means over batches."""
    rates, asked = rates_frame(measured.records), measured.asked
    names = ("replay_fraction", "batches", "batch_tokens", "sequence_length", "seed")
    return {
        "model": str(asked.model),
        "text": str(asked.text),
        "n_params": measured.n_params,
        "n_params_total": measured.n_params_total,
        **{name: asdict(asked)[name] for name in names},
        **summary(measured.records, measured.spec),
        "loss_nats": float(rates.groupby("batch").loss_before_nats.first().median()),
        "forward_passes_per_batch": float(rates.groupby("batch").n_forward.sum().mean()),
        "landscape": _means(landscape_frame(measured.records)),
    }


def drawn(found: dict[str, Any]) -> Group:
    """Draw what `content` returns as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("target", "learning rate", "quartiles", "batches"):
        table.add_column(column, justify="left" if column == "target" else "right")
    named = {f"{100 * float(share):g} % less loss": q for share, q in found["targets"].items()}
    named |= {"best": found["best"], "edge": found["edge"]}
    for name, quartiles in named.items():
        shown = [_number(quartiles[which]) for which in ("median", "q1", "q3")]
        count = f"{quartiles['n_found']} of {quartiles['n_batches']}"
        table.add_row(name, shown[0], f"{shown[1]} … {shown[2]}", count)
    largest = found["largest_decrease"]["median"]
    moments = f"{found['moments']} moments"
    if found["warm_steps"]:
        moments = f"moments warmed by {found['warm_steps']} updates of rate 0"
    text = (
        f"{found['model']}, {found['n_params']:,} parameters without embeddings: "
        f"{found['loss_nats']:.3f} nats per token; {found['optimizer']}, {moments}, "
        f"replay {found['replay_fraction']:g}.\n"
        f"Largest decrease of one step: {'none' if largest is None else f'{largest:.1%}'} "
        "of the batch's own loss. "
        f"{found['forward_passes_per_batch']:.1f} forward passes per batch."
    )
    return Group(table, Text(text))


def draw(measured: Measured, file: Path) -> None:
    """Write the landscape as a figure; its ending says how."""
    from palimpsest.core.plots.landscape import of_one_model
    from palimpsest.core.tables.probes import rates_table

    asked = measured.asked
    name = asked.model.resolve().name
    head: dict[str, Any] = {"model": name, "n_params": measured.n_params, "seed": asked.seed}
    head |= {"replay_fraction": asked.replay_fraction, "stream": "chunks", "usual": True}
    head |= {"base_step": "final", "warm_steps": asked.warm_steps, "optimizer": asked.optimizer}
    rates = rates_table([head | summary(measured.records, measured.spec)])
    of_one_model(landscape_frame(measured.records).assign(**head), rates).savefig(file, dpi=160)


def check_plot(file: Path) -> None:
    """Refuse a figure that could not be written, before anything is computed."""
    if file.suffix not in PLOTS:
        raise Fault(f"--plot {file}: ends in {file.suffix or 'nothing'}; take {', '.join(PLOTS)}")
    if not file.resolve().parent.is_dir():
        raise Fault(f"--plot {file}: there is no folder {file.resolve().parent}; make it")


def _check(asked: Asked) -> None:
    shares = asked.decreases
    if not shares or any(share == 0 or share >= 1 for share in shares):
        raise Fault(f"--decrease: {list(shares)}; give shares below 1, none of them 0")
    if asked.optimizer not in RATES:
        raise Fault(f"--optimizer: {asked.optimizer!r}; take {' or '.join(RATES)}")
    if not 0 <= asked.replay_fraction < 1:
        raise Fault(f"--replay: {asked.replay_fraction}; take 0 … below 1, new text is measured")
    if asked.replay_fraction > 0 and asked.replay_text is None:
        raise Fault(f"--replay {asked.replay_fraction}: give the text to replay by --replay-text")
    lowest, highest, _ = asked.rates
    if not 0 < lowest < highest:
        raise Fault(f"--lowest {lowest:g}, --highest {highest:g}: rates must rise from above 0")


def _load(folder: Path) -> tuple[PreTrainedModel, Any]:
    if not folder.is_dir():
        raise Fault(f"--model {folder}: there is no such folder; give one with a config.json")
    inside = sorted(path.parent for path in folder.glob("*/config.json"))
    if inside and not (folder / "config.json").is_file():
        raise Fault(
            f"--model {folder}: holds no config.json itself; give one of its {len(inside)} folders "
            f"that do: {inside[-1]}"
        )
    try:
        model = load_causal_lm(folder)
        return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        first = str(error).strip().partition("\n")[0]
        raise Fault(f"--model {folder}: not a causal LM that can be loaded: {first}") from None


def _stream(
    asked: Asked, model: PreTrainedModel, tokenizer: Any, replayed: np.ndarray | None
) -> Stream:
    tokens = _tokens(asked.text, tokenizer)
    needed = asked.sequence_length + (asked.batches + asked.warm_steps + 1) * asked.batch_tokens
    if len(tokens) <= needed:
        raise Fault(
            f"--text {asked.text}: {len(tokens)} tokens; {asked.batches} batches of "
            f"{asked.batch_tokens}, one to follow and {asked.warm_steps} to warm need "
            f"{needed + 1}: give more text, or lower --batches or --batch-tokens"
        )
    return make_stream(
        {
            "kind": "chunks",
            "sequence_length": asked.sequence_length,
            "batch_tokens": asked.batch_tokens,
        },
        new=tokens,
        original=replayed if asked.replay_fraction else None,
        replay_fraction=asked.replay_fraction,
        seed=asked.seed,
        context_length=getattr(model.config, "max_position_embeddings", None),
    )


def _original(asked: Asked, tokens: np.ndarray | None) -> list[Row]:
    """Return rows of the replay text's end, to see what the same step does to it."""
    if tokens is None:
        return []
    table = {"document": [0], "domain": ["original"], "start_token": [0], "n_tokens": [len(tokens)]}
    rows, _ = sample_rows(
        tokens,
        pd.DataFrame(table),
        n_tokens=N_ORIGINAL_TOKENS,
        sequence_length=asked.sequence_length,
        source="replay",
    )
    return rows


def _split(asked: Asked, tokenizer: Any) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Return what is replayed of the replay text and, disjoint from it, what measures."""
    if asked.replay_text is None:
        return None, None
    tokens = _tokens(asked.replay_text, tokenizer)
    needed = 2 * (asked.sequence_length + 1)
    if len(tokens) < needed:
        raise Fault(
            f"--replay-text {asked.replay_text}: {len(tokens)} tokens; two rows of "
            f"{asked.sequence_length} need {needed}: give more text, or lower --sequence-length"
        )
    cut = len(tokens) - min(N_ORIGINAL_TOKENS + 1, len(tokens) // 2)
    return tokens[:cut], tokens[cut:]


def _spec(asked: Asked) -> dict[str, Any]:
    lowest, highest, points = asked.rates
    kind = {"kind": asked.optimizer}
    return {
        "optimizer": Optimizer.model_validate(kind).model_dump(),
        "warm_steps": asked.warm_steps,
        "decreases": list(asked.decreases),
        "rates": {"lowest": lowest, "highest": highest, "points": points},
        "landscape": True,
    }


def _tokens(file: Path, tokenizer: Any) -> np.ndarray:
    """Return a text's tokens, documents one after the other with the end token between them."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens: list[int] = []
    for text in _documents(file):
        tokens += [*tokenizer.encode(text, add_special_tokens=False, verbose=False), *end]
    return np.array(tokens[: len(tokens) - len(end)], dtype=np.int64)


def _documents(file: Path) -> list[str]:
    """Read plain text as one document, or JSON Lines of `text` or of an episode's `turns`."""
    if file.is_dir():
        raise Fault(f"{file}: a folder; give one file of text: .txt, .md, .jsonl, or .gz and .xz")
    if ".jsonl" in file.suffixes:
        texts = [str(record["text"]) for record in read_records(file, _document_of)]
        ends = np.cumsum([len(text) for text in texts])
        return texts[: 1 + int(np.searchsorted(ends, MAX_CHARACTERS))]
    try:
        with open_text(file) as opened:
            return [opened.read(MAX_CHARACTERS)]
    except FileNotFoundError:
        raise Fault(f"{file}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise Fault(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except (EOFError, OSError, LZMAError) as error:
        raise Fault(f"{file}: cannot be read: {error}") from None


def _document_of(record: Record) -> Record:
    return {"text": text_in(record["text"])} if "text" in record else session_of(record)


def _means(landscape: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return rates and mean losses over batches; null where one is not finite."""
    means = landscape.groupby(["measured_on", "learning_rate"]).loss_nats.mean().unstack(0)
    columns = {str(name): means[name] for name in means.columns}
    columns = {"learning_rate": means.index.to_series()} | columns
    return {
        name: [float(value) if np.isfinite(value) else None for value in values]
        for name, values in columns.items()
    }


def _number(rate: float | None) -> str:
    return "none" if rate is None else f"{rate:.3g}"
