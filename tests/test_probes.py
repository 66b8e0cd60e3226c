import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import backward, batch_gradient, mean_loss, pack
from palimpsest.core.models import load_causal_lm, new_neox, save_causal_lm
from palimpsest.core.streams import make_stream
from palimpsest.core.update import Update
from palimpsest.faults import Fault
from palimpsest.stages.probes import build

OPTIMIZER = {
    "kind": "adamw",
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "layer_slope": 0.0,
}
STREAM = {"kind": "chunks", "sequence_length": 16, "batch_tokens": 64, "n_new_tokens": 640}
SPEC = {
    "kind": "landscape",
    "base_step": "final",
    "stream": STREAM,
    "replay_fraction": 0.5,
    "seed": 0,
    "optimizer": OPTIMIZER,
    "batches": 4,
    "warm_steps": 0,
    "decreases": [0.01, 0.05, 0.6, -0.1],
    "rates": {"lowest": 1e-5, "highest": 10.0, "points": 5},
    "landscape": True,
    "original_tokens": 128,
}


def text(seed, n_tokens):
    """Tokens with a habit: most follow their predecessor by one."""
    rng = np.random.default_rng(seed)
    jumps = np.where(rng.random(n_tokens) < 0.7, 1, rng.integers(0, 63, n_tokens))
    return (np.cumsum(jumps) % 63 + 1).astype(np.uint16)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    for name, seed in (("new", 1), ("original", 2)):
        (root / name).mkdir()
        np.save(root / name / "train.npy", text(seed, 1000))
        np.save(root / name / "held_out.npy", text(seed + 10, 300))
        documents = pd.DataFrame(
            {"document": [0], "domain": ["a"], "start_token": [0], "n_tokens": [300]}
        )
        documents.to_parquet(root / name / "held_out_documents.parquet", index=False)
    model = new_neox(hidden_size=32, layers=2, heads=2, vocab_size=64, context_length=32, seed=3)
    warm(model, np.load(root / "original" / "train.npy"))
    save_causal_lm(model, root / "base" / "step-00000030", root)
    base = {
        "checkpoints": [{"step": 30, "n_tokens": 1920, "folder": "step-00000030"}],
        "final": "step-00000030",
    }
    (root / "base" / "base.json").write_text(json.dumps(base))
    return {name: root / name for name in ("base", "new", "original")}


def warm(model, tokens):
    """Train a little, so that the model has something to forget."""
    flat = FlatWeights(model)
    update = Update(flat, OPTIMIZER)
    stream = stream_of(tokens, tokens, replay_fraction=0.0)
    for step in range(30):
        new = pack_rows(stream.batch(step % stream.n_steps).new)
        batch_gradient(model, flat, new=new, replay=[])
        flat.step(update.direction(), 3e-3)


def stream_of(new, original, *, replay_fraction):
    return make_stream(STREAM, new=new, original=original, replay_fraction=replay_fraction, seed=0)


def pack_rows(rows):
    return pack(rows, max_tokens=10**6, device=torch.device("cpu"))


def run(inputs, out, **changed):
    out.mkdir()
    build({**SPEC, **changed}, inputs, out)
    return (
        pd.read_parquet(out / "rates.parquet"),
        pd.read_parquet(out / "landscape.parquet"),
        json.loads((out / "probe.json").read_text()),
    )


@pytest.fixture(scope="module")
def probed(inputs, tmp_path_factory):
    return run(inputs, tmp_path_factory.mktemp("probe") / "out")


def losses_after_torch_step(inputs, *, step, learning_rate, n_warm=0):
    """Return the losses on the same and the next batch after a step of torch.optim.AdamW."""
    model = load_causal_lm(inputs["base"] / "step-00000030")
    tokens = {name: np.load(inputs[name] / "train.npy") for name in ("new", "original")}
    stream = stream_of(tokens["new"], tokens["original"], replay_fraction=0.5)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0
    )
    for at in range(step - n_warm, step + 1):
        batch = stream.batch(at)
        optimizer.zero_grad()
        n_tokens = batch.n_new_tokens + batch.n_replay_tokens
        for rows in (batch.new, batch.replay):
            backward(model, pack_rows(rows), n_tokens)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate if at == step else 0.0
        optimizer.step()
    following = stream.batch(step + 1)
    return [mean_loss(model, pack_rows(rows)) for rows in (stream.batch(step).new, following.new)]


@pytest.mark.parametrize("n_warm", [0, 3])
def test_the_landscape_is_that_of_real_steps_at_every_rate(inputs, tmp_path, n_warm):
    """The default grid, four batches: a step of torch's AdamW, then a forward pass."""
    rates = {"lowest": 1e-5, "highest": 1e-1, "points": 13}
    _, landscape, probe = run(inputs, tmp_path / "out", rates=rates, warm_steps=n_warm)
    assert (probe["moments"], probe["warm_steps"]) == ("warmed" if n_warm else "fresh", n_warm)
    assert landscape.groupby(["batch", "measured_on"]).size().eq(14).all()
    # 10 updates of 64 new tokens, four probed, from the first with a past on to the last but one.
    for batch, step in enumerate([3, 5, 6, 8] if n_warm else [0, 3, 5, 8]):
        for rate, losses in landscape[landscape.batch == batch].groupby("learning_rate"):
            measured = losses.set_index("measured_on").loss_nats
            same, following = losses_after_torch_step(
                inputs, step=step, learning_rate=rate, n_warm=n_warm
            )
            assert measured["same"] == pytest.approx(same, rel=1e-6)
            assert measured["next"] == pytest.approx(following, rel=1e-6)


def test_rates_keep_what_they_promise(probed):
    rates, landscape, _ = probed
    before = rates.loss_before_nats
    for decrease in (0.01, 0.05):
        one = rates[rates.decrease == decrease]
        assert (one.loss_after_nats <= (1 - decrease) * before[one.index]).all()
        assert (one.loss_after_nats >= (1 - 1.03 * decrease) * before[one.index]).all()
    best, edge = (rates[rates.target == target] for target in ("best", "edge"))
    np.testing.assert_allclose(best.decrease, 1 - best.loss_after_nats / best.loss_before_nats)
    same = landscape[landscape.measured_on == "same"].groupby("batch").loss_nats.min()
    assert (best.set_index("batch").loss_after_nats <= same + 1e-6).all()
    assert (edge.loss_after_nats > edge.loss_before_nats).all()
    worse = rates[rates.decrease == -0.1]
    assert (worse.loss_after_nats > 1.1 * worse.loss_before_nats).all()
    assert (worse.learning_rate.to_numpy() > edge.learning_rate.to_numpy()).all()


def test_an_unreachable_decrease_is_null_and_says_why(probed):
    rates, _, probe = probed
    none = rates[rates.decrease == 0.6]
    assert none.learning_rate.isna().all() and none.loss_after_nats.isna().all()
    assert none.reason.str.startswith("the largest decrease is 0.").all()
    expected = {"median": None, "q1": None, "q3": None, "n_found": 0, "n_batches": 4}
    assert probe["targets"]["0.6"] == expected


def test_the_summary_holds_medians_and_quartiles(probed):
    rates, _, probe = probed
    found = rates[rates.decrease == 0.05].learning_rate
    one = probe["targets"]["0.05"]
    assert (one["n_found"], one["n_batches"]) == (4, 4)
    assert one["median"] == pytest.approx(found.median())
    assert one["q1"] == pytest.approx(found.quantile(0.25))
    best = rates[rates.target == "best"]
    assert probe["largest_decrease"]["median"] == pytest.approx(best.decrease.median())
    assert probe["slope"]["median"] < 0
    assert rates.share_rounded_away[best.index].max() < 0.01
    rounded = probe["share_rounded_away"]
    assert rounded["1e-10"] > 0.9 and rounded["0.01"] < 0.01


def test_two_builds_are_the_same_bytes_and_no_landscape_means_no_rows(inputs, tmp_path):
    _, landscape, _ = run(inputs, tmp_path / "a", landscape=False)
    assert landscape.empty
    assert list(landscape.columns) == ["batch", "measured_on", "learning_rate", "loss_nats"]
    run(inputs, tmp_path / "b", landscape=False)
    for file in ("rates.parquet", "landscape.parquet", "probe.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "landscape.parquet",
        "probe.json",
        "rates.parquet",
    ]


def test_a_probe_that_was_cut_short_goes_on_to_the_same_bytes(inputs, tmp_path, monkeypatch):
    run(inputs, tmp_path / "whole")
    monkeypatch.setenv("PALIMPSEST_SAVE_SECONDS", "0")
    cut = tmp_path / "cut"
    cut.mkdir()
    with monkeypatch.context() as patch:
        seen = []
        patch.setattr("palimpsest.stages.probes.step_done", lambda *_: interrupt(seen))
        with pytest.raises(KeyboardInterrupt):
            build(SPEC, inputs, cut)
    assert [file.name for file in cut.iterdir()] == ["resume.pt"]
    build(SPEC, inputs, cut)
    for file in (tmp_path / "whole").iterdir():
        assert (cut / file.name).read_bytes() == file.read_bytes()
    assert not (cut / "resume.pt").exists()


def interrupt(seen):
    seen.append(True)
    if len(seen) == 3:
        raise KeyboardInterrupt


def test_half_of_the_batches_without_a_rate_leave_no_median():
    from palimpsest.core.rate_summary import quartiles

    nan = math.nan
    assert quartiles(pd.Series([4.0, nan, 1.0, nan])) == {
        "q1": 3.25,
        "median": None,
        "q3": None,
        "n_found": 2,
        "n_batches": 4,
    }
    assert quartiles(pd.Series([4.0, nan, 1.0]))["median"] == 4.0
    assert quartiles(pd.Series([3.0, 1.0, 2.0, 4.0]))["q3"] == 3.25


def test_pure_replay_and_unknown_steps_are_faults(inputs, tmp_path):
    with pytest.raises(Fault, match="no new data"):
        build({**SPEC, "replay_fraction": 1.0}, inputs, tmp_path)
    with pytest.raises(Fault, match="base_step: 7"):
        build({**SPEC, "base_step": 7}, inputs, tmp_path)
