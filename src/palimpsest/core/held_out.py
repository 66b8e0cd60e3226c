"""A held-out token file → an evenly spaced, fixed sample of rows, each within one domain."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from palimpsest.core.rows import Row, Source


def sample_rows(
    tokens: NDArray[np.integer],
    documents: pd.DataFrame,
    *,
    n_tokens: int,
    sequence_length: int,
    source: Source,
) -> tuple[list[Row], list[str]]:
    """Return rows of up to `sequence_length` targets, and the domain of each.

    documents: document, domain, start_token, n_tokens, in order. The windows lie evenly over the
    whole file and do not overlap; a window across a change of domain becomes one row per domain.
    A file shorter than `n_tokens` is taken whole.
    """
    width = sequence_length + 1
    n_windows = max(1, min(n_tokens // sequence_length, len(tokens) // width))
    starts = np.linspace(0, max(len(tokens) - width, 0), n_windows).astype(int)
    changes = _changes(documents)
    rows, domains = [], []
    for start in starts:
        stop = min(start + width, len(tokens))
        inside = changes.start_token[(changes.start_token > start) & (changes.start_token < stop)]
        edges = [int(start), *inside.astype(int), int(stop)]
        for low, high in itertools.pairwise(edges):
            if high - low < 2:
                continue
            part = np.asarray(tokens[low:high], dtype=np.int64)
            rows.append(Row(tokens=part, source=source, position=low, piece=-1, n_context=0))
            domains.append(_domain_at(changes, low))
    return rows, domains


def tokens_per_byte(documents: pd.DataFrame) -> dict[str, float]:
    """Return each domain's tokens per byte of text, ends of documents counted as tokens."""
    sums = documents.groupby("domain")[["n_tokens", "n_bytes"]].sum()
    return {str(domain): float(row.n_tokens / row.n_bytes) for domain, row in sums.iterrows()}


def _changes(documents: pd.DataFrame) -> pd.DataFrame:
    """Return the documents that open a stretch of one domain."""
    return documents[documents.domain != documents.domain.shift()].reset_index(drop=True)


def _domain_at(changes: pd.DataFrame, position: int) -> str:
    place = int(np.searchsorted(changes.start_token.to_numpy(), position, side="right")) - 1
    return str(changes.domain.iloc[place])
