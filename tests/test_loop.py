import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from training_inputs import OPTIMIZER, VOCAB, walk
from transformers import PreTrainedModel, Trainer, TrainingArguments

from palimpsest.core import landscape, loop
from palimpsest.core.course import LOG_COLUMNS, Course, Progress, Trainee
from palimpsest.core.landscape import Line
from palimpsest.core.loop import train
from palimpsest.core.models import new_neox
from palimpsest.core.policies import fixed, follow, hold
from palimpsest.core.rows import Batch, Row
from palimpsest.core.stops import Settings

RATE = 3e-3
TOKENS = walk(4000, seed=5).astype(np.int64)


def small_model() -> PreTrainedModel:
    return new_neox(hidden_size=16, layers=2, heads=2, vocab_size=VOCAB, context_length=32, seed=1)


def row(start: int, n_targets: int, source: Any = "new") -> Row:
    return Row(TOKENS[start : start + n_targets + 1], source, start, piece=0)


def batch(step: int) -> Batch:
    """Two new rows and a shorter replayed one: the tokens, not the rows, must weigh."""
    start = 80 * step
    new = (row(start, 16), row(start + 16, 16))
    return Batch(new=new, replay=(row(start + 40, 11, "replay"),))


def course(batches: Callable[[int], Batch], n_steps: int, **changes: Any) -> Course:
    settings: dict[str, Any] = {
        "policy": fixed.rate,
        "policy_params": fixed.Params(kind="fixed", learning_rate=RATE),
        "stops": Settings(diverged_patience=None),
        "line": Line,
    }
    return Course(batch=batches, n_steps=n_steps, **(settings | changes))


def run(
    *, n_steps: int, max_tokens: int = 1000, batches: Callable[[int], Batch] = batch, **changes: Any
) -> tuple[Trainee, Progress]:
    optimizer = OPTIMIZER | changes.pop("optimizer", {})
    trainee, progress = Trainee(small_model(), optimizer), Progress()
    trainee.max_tokens = max_tokens
    reference = trainee.flat.weights.clone()
    train(
        trainee,
        course(batches, n_steps, reference=reference, **changes),
        progress,
        after_step=lambda: None,
    )
    return trainee, progress


def test_equals_a_plain_loop_with_torchs_adamw_and_clipping() -> None:
    trainee, progress = run(n_steps=6)
    model = small_model()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0
    )
    for step in range(6):
        rows = [*batch(step).new, *batch(step).replay]
        nats = [nats_of(model, one) for one in rows]
        (torch.cat(nats).sum() / 43).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        logged = progress.log[step]
        assert logged["loss_new_nats"] == pytest.approx(
            float(torch.cat(nats[:2]).mean().detach()), rel=1e-5
        )
        assert logged["loss_replay_nats"] == pytest.approx(float(nats[2].mean().detach()), rel=1e-5)
        assert logged["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    plain = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    torch.testing.assert_close(trainee.flat.weights, plain, rtol=0, atol=2e-5)


def nats_of(model: PreTrainedModel, one: Row) -> torch.Tensor:
    tokens = torch.tensor(one.tokens)
    logits = model(input_ids=tokens[None, :-1]).logits[0]
    return cross_entropy(logits, tokens[1:], reduction="none")


def four_rows(step: int) -> Batch:
    """Four new rows, one of them shorter, and none replayed: all fit into one micro-batch."""
    start = 80 * step
    return Batch(new=(*(row(start + k, 16) for k in (0, 16, 32)), row(start + 48, 11)), replay=())


@pytest.mark.parametrize(
    ("batches", "n_micro_batches"),
    [(four_rows, {1000: 1, 32: 2, 16: 4}), (batch, {1000: 2, 16: 3})],
    ids=["new", "new and replayed"],
)
def test_accumulation_over_micro_batches_gives_the_same_losses(
    batches: Callable[[int], Batch], n_micro_batches: dict[int, int]
) -> None:
    """Of 59 new tokens at once, in two and in four parts; replayed ones have their own parts."""
    losses = []
    for max_tokens, expected in n_micro_batches.items():
        trainee, progress = run(n_steps=12, max_tokens=max_tokens, batches=batches)
        parts = [*trainee.pack(batches(0).new), *trainee.pack(batches(0).replay)]
        assert len(parts) == expected
        losses.append([entry["loss_new_nats"] for entry in progress.log])
    for accumulated in losses[1:]:
        assert accumulated == pytest.approx(losses[0], rel=0, abs=1e-6)


def test_the_log_counts_tokens_rates_and_drift() -> None:
    trainee, progress = run(n_steps=3)
    assert [entry["step"] for entry in progress.log] == [1, 2, 3]
    assert [entry["n_new_tokens"] for entry in progress.log] == [32, 64, 96]
    assert [entry["n_replay_tokens"] for entry in progress.log] == [11, 22, 33]
    assert progress.log[-1]["sum_learning_rate"] == pytest.approx(3 * RATE)
    start = Trainee(small_model(), OPTIMIZER).flat.weights
    moved = (trainee.flat.weights - start).double()
    assert progress.log[-1]["mad_drift"] == pytest.approx(float(moved.abs().mean()), rel=1e-5)
    relative = float(moved.norm() / start.double().norm())
    assert progress.log[-1]["relative_drift"] == pytest.approx(relative, rel=1e-5)
    assert set(progress.log[0]) == set(LOG_COLUMNS)
    assert progress.stop_reason == "epochs"


def test_bf16_is_for_matrix_products_of_training_alone() -> None:
    """Weights stay fp32, losses agree to bf16's three digits, and measured ones are fp32's."""
    trainee, progress = Trainee(small_model(), OPTIMIZER), Progress()
    trainee.bf16 = True
    lines: list[float] = []

    def line(*args: Any, **known: Any) -> Line:
        found = Line(*args, **known)
        lines.append(found.loss_nats)
        return found

    train(trainee, course(batch, 2, line=line), progress, after_step=lambda: None)
    _, plain = run(n_steps=2)
    assert trainee.flat.weights.dtype == torch.float32
    for place in range(2):
        ours, theirs = progress.log[place]["loss_new_nats"], plain.log[place]["loss_new_nats"]
        assert ours != theirs and ours == pytest.approx(theirs, rel=1e-2)
    assert lines[0] == pytest.approx(plain.log[0]["loss_new_nats"], rel=1e-6)


def test_a_micro_batch_that_does_not_fit_is_halved_and_said(monkeypatch: Any) -> None:
    """43 tokens at once and 40 are too many for an accelerator that takes 20."""
    real = loop.batch_gradient

    def small_memory(model: Any, flat: Any, *, new: Any, replay: Any) -> Any:
        if max(micro.inputs_BT.numel() for micro in (*new, *replay)) > 20:
            raise torch.cuda.OutOfMemoryError("too small")
        return real(model, flat, new=new, replay=replay)

    _, plain = run(n_steps=3)
    monkeypatch.setattr(loop, "batch_gradient", small_memory)
    with pytest.warns(UserWarning, match="out of memory: micro-batches of 16 tokens"):
        trainee, progress = run(n_steps=3, max_tokens=40)
    assert trainee.max_tokens == 16, "half of the largest, which holds 32"
    with pytest.warns(UserWarning) as told:
        trainee, _ = run(n_steps=1, max_tokens=10**6)
    assert trainee.max_tokens <= 20 and len(told) == 1, "nothing is tried again unchanged"
    losses = [[row["loss_new_nats"] for row in one.log] for one in (progress, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run(n_steps=1, max_tokens=40, batches=lambda step: Batch(new=(row(0, 30),), replay=()))


def test_a_step_of_sgd_by_hand() -> None:
    """u = g: the slope is −‖g‖² and the step η‖g‖ long."""
    sgd = {"kind": "sgd", "momentum": 0.0, "clip_norm": None}
    new_only = Batch(new=batch(0).new, replay=())
    _, progress = run(n_steps=1, batches=lambda step: new_only, optimizer=sgd)
    entry = progress.log[0]
    assert entry["slope"] == pytest.approx(-(entry["grad_norm"] ** 2), rel=1e-5)
    assert entry["update_norm"] == pytest.approx(RATE * entry["grad_norm"], rel=1e-5)


def test_a_rate_below_the_resolution_of_fp32_is_rounded_away() -> None:
    tiny = fixed.Params(kind="fixed", learning_rate=1e-12)
    _, progress = run(n_steps=17, policy_params=tiny)
    shares = [entry["share_rounded_away"] for entry in progress.log]
    assert 0.9 < shares[0] <= 1.0
    assert [math.isnan(share) for share in shares] == [False, *[True] * 15, False]


def test_a_policy_without_a_rate_ends_the_phase_before_its_first_update() -> None:
    nothing = {"targets": {"0.5": {"median": None}}}
    trainee, progress = run(
        n_steps=5,
        policy=hold.rate,
        policy_params=hold.Params(kind="hold", decrease=0.5),
        probe=nothing,
    )
    assert (progress.stop_reason, progress.n_steps, progress.log) == ("no-rate", 0, [])
    assert torch.equal(trainee.flat.weights, Trainee(small_model(), OPTIMIZER).flat.weights)


def test_a_loss_that_is_not_finite_ends_the_phase_and_moves_nothing() -> None:
    huge = fixed.Params(kind="fixed", learning_rate=1e30)
    trainee, progress = run(n_steps=50, policy_params=huge)
    assert progress.stop_reason == "diverged"
    assert progress.n_steps == len(progress.log) < 50
    assert torch.isfinite(trainee.flat.weights).all()


def test_three_probes_in_a_row_that_miss_the_asked_decrease_end_the_phase() -> None:
    """99 % of the loss is never to be had by one step: the third miss ends it, of 50 updates."""
    _, progress = run(
        n_steps=50,
        policy=follow.rate,
        policy_params=follow.Params(kind="follow", decrease=0.99),
        stops=Settings(diverged_patience=None, no_descent_patience=3),
    )
    assert (progress.stop_reason, progress.n_steps) == ("no-descent", 3)
    assert all(0 < entry["decrease_achieved"] < 0.99 for entry in progress.log)


def test_edge_and_questions_are_measured_when_they_are_due() -> None:
    _, progress = run(
        n_steps=4,
        measure_edge_every=3,
        stops=Settings(accuracy=0.8, accuracy_every=2),
        share_correct=lambda: 0.5,
    )
    edges = [entry["edge_learning_rate"] for entry in progress.log]
    assert [math.isnan(edge) for edge in edges] == [False, True, True, False]
    assert edges[0] > RATE
    assert [entry["n_forward"] > 0 for entry in progress.log] == [True, False, False, True]
    shares = [entry["share_correct"] for entry in progress.log]
    assert shares[1] == shares[3] == 0.5
    assert math.isnan(shares[0])


def test_a_measured_decrease_is_that_of_the_step_that_is_taken() -> None:
    """The batch is the same at both steps: the loss before the second is that after the first."""
    new_only = Batch(new=batch(0).new, replay=())
    _, progress = run(n_steps=2, batches=lambda step: new_only, measure_decrease=True)
    first, second = progress.log
    assert first["loss_new_after_nats"] == pytest.approx(second["loss_new_nats"], rel=1e-6)
    share = 1 - second["loss_new_nats"] / first["loss_new_nats"]
    assert first["decrease_achieved"] == pytest.approx(share, rel=1e-4)
    assert first["n_forward"] == 1
    assert math.isnan(first["decrease_asked"])


def test_every_step_says_how_long_it_took() -> None:
    began = time.perf_counter()
    _, progress = run(n_steps=3)
    assert len(progress.step_seconds) == 3
    assert 0 < sum(progress.step_seconds) < time.perf_counter() - began


def test_pure_replay_logs_no_new_loss() -> None:
    _, progress = run(
        n_steps=2, batches=lambda step: Batch(new=(), replay=(row(20 * step, 16, "replay"),))
    )
    assert all(math.isnan(entry["loss_new_nats"]) for entry in progress.log)
    assert all(entry["loss_replay_nats"] > 0 for entry in progress.log)
    assert progress.n_new_tokens == 0


def test_the_host_waits_for_the_device_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three micro-batches a step, one of replay; what the last step leaves is read at the end."""
    waits = count_waits(monkeypatch)
    _, progress = run(n_steps=20, max_tokens=16)
    assert waits == ["tolist"] * (20 + 1)
    assert all(isinstance(value, float | int) for entry in progress.log for value in entry.values())
    assert progress.log[-1]["update_norm"] > 0


def test_a_loss_before_the_step_is_measured_anew_only_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bfloat16 the training's loss is no point of the line; a fixed rate never asks for one."""
    measured: list[float] = []
    real = landscape.mean_loss
    monkeypatch.setattr(landscape, "mean_loss", lambda *args: measured.append(1) or real(*args))
    trainee = Trainee(small_model(), OPTIMIZER)
    trainee.bf16 = True
    train(trainee, course(batch, 3), Progress(), after_step=lambda: None)
    assert not measured
    train(trainee, course(batch, 3, measure_decrease=True), Progress(), after_step=lambda: None)
    assert len(measured) == 2 * 3


def count_waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each call of the program's own that makes the host wait for an accelerator."""
    waits: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        real = getattr(torch.Tensor, name)

        def method(self: torch.Tensor, *args: Any, **more: Any) -> Any:
            if "/palimpsest/" in sys._getframe(1).f_code.co_filename:
                waits.append(name)
            return real(self, *args, **more)

        return method

    names = ("item", "tolist", "cpu", "numpy", "nonzero", "__float__", "__int__", "__bool__")
    for name in (*names, "__index__", "__array__", "is_nonzero", "masked_select", "unique"):
        monkeypatch.setattr(torch.Tensor, name, noting(name))
    return waits


class Recorder(Trainer):
    """A Trainer that keeps the losses of its steps and the order of its data."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.losses: list[float] = []

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(float(loss.detach()))
        return loss


def test_forty_steps_equal_hugging_face_trainer_to_six_digits(tmp_path: Any) -> None:
    rows = [row(20 * i, 16) for i in range(160)]
    batches = [Batch(new=tuple(rows[at : at + 4]), replay=()) for at in range(0, 160, 4)]
    _, progress = run(n_steps=40, batches=batches.__getitem__)
    data = [{"input_ids": one.tokens, "labels": one.tokens} for one in rows]
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        max_steps=40,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Recorder(model=small_model(), args=arguments, train_dataset=data)
    trainer.train()
    ours = [entry["loss_new_nats"] for entry in progress.log]
    assert len(trainer.losses) == 40
    assert ours[-1] == pytest.approx(trainer.losses[-1], rel=1e-6)
    assert ours == pytest.approx(trainer.losses, rel=5e-6)
