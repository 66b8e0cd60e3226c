from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_artifacts import tiny_model

from palimpsest.core.drift import base_log_probabilities, drift, kl_nats
from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import pack
from palimpsest.core.rows import Row


def test_no_drift_is_zero_everywhere_and_counts_every_parameter() -> None:
    model = tiny_model(0)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    flat = FlatWeights(model)
    table = drift(flat.weights, flat.weights, flat.segments)
    assert table.n_weights.sum() == n_parameters
    assert (table.mad == 0).all() and (table.share_unchanged == 1).all()
    assert (table.relative_norm.dropna() == 0).all()


def test_one_known_change_is_found_where_it_was_made() -> None:
    model = tiny_model(0)
    flat = FlatWeights(model)
    before = flat.weights.clone()
    head = model.get_output_embeddings().weight
    with torch.no_grad():
        head.view(-1)[:10] += 0.5
    table = drift(flat.weights, before, flat.segments).set_index(["layer", "group"])
    moved = table.loc[(2, "head")]
    assert moved.mad == pytest.approx(0.5 * 10 / head.numel(), rel=1e-6)
    norm = float(before[flat.segments[-1].start : flat.segments[-1].stop].norm())
    assert moved.relative_norm == pytest.approx(np.sqrt(10) * 0.5 / norm, rel=1e-5)
    assert moved.share_unchanged == 1 - 10 / head.numel()
    others = table.drop(index=[(2, "head")])
    assert (others.mad == 0).all()


def test_going_on_in_the_same_direction_is_cosine_one_and_back_minus_one() -> None:
    flat = FlatWeights(tiny_model(0))
    base, step = flat.weights.clone(), torch.ones_like(flat.weights)
    on = drift(base + 2 * step, base, flat.segments, previous=base + step)
    back = drift(base - step, base, flat.segments, previous=base + step)
    assert on.cosine_previous.to_numpy() == pytest.approx(1, abs=1e-5)
    assert back.cosine_previous.to_numpy() == pytest.approx(-1, abs=1e-5)
    first = drift(base + step, base, flat.segments)
    assert first.cosine_previous.isna().all()


def test_kl_is_the_sum_over_the_vocabulary_by_hand() -> None:
    model, other = tiny_model(0), tiny_model(1)
    tokens = [np.arange(9), np.arange(20, 26)]
    rows = [Row(row, "new", 0, piece=-1) for row in tokens]
    packed = pack(rows, max_tokens=64, device=torch.device("cpu"))
    base = base_log_probabilities(model, packed)
    expected = []
    for row in tokens:
        with torch.no_grad():
            p, q = (
                torch.log_softmax(one(input_ids=torch.tensor(row[:-1])[None]).logits[0], -1)
                for one in (model, other)
            )
        expected += (p.exp() * (p - q)).sum(-1).tolist()
    assert kl_nats(other, packed, base) == pytest.approx(np.mean(expected), abs=1e-5)
    assert kl_nats(model, packed, base) == pytest.approx(0, abs=1e-7)
