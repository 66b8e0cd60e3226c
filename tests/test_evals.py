from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from tiny_artifacts import tiny_model, write_tokenizer

from palimpsest import progress
from palimpsest.core.benchmarks import Harness, _items, _stderr
from palimpsest.core.models import save_causal_lm
from palimpsest.faults import Fault
from palimpsest.stages import evals

CHOICES = """\
task: choices
dataset_path: json
dataset_kwargs:
  data_files:
    validation: {folder}/choices.jsonl
output_type: multiple_choice
validation_split: validation
doc_to_text: "{{{{query}}}}"
doc_to_target: "{{{{label}}}}"
doc_to_choice: "choices"
metric_list:
  - metric: acc
  - metric: acc_norm
"""
ENDINGS = """\
task: endings
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/endings.jsonl
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - metric: perplexity
    aggregation: perplexity
    higher_is_better: false
  - metric: acc
"""
# Written by the model, read by two filters; the metric is asked of each.
WRITTEN = """\
task: written
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/endings.jsonl
output_type: generate_until
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_target: "a"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 3, do_sample: false}}
filter_list:
  - name: strict-match
    filter: [{{function: regex, regex_pattern: "^(.)"}}, {{function: take_first}}]
  - name: flexible
    filter: [{{function: regex, regex_pattern: "(a|e|o)"}}, {{function: take_first}}]
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
# Items are (log-likelihood, words), which are no numbers.
ROLLING = """\
task: rolling
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/endings.jsonl
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: word_perplexity
  - metric: bits_per_byte
"""
LETTERS = list("abcdefgh")
WORDS = ["a cat", "sat", "on the", "mat and", "ran", "off to", "bed", "early"]


@pytest.fixture(scope="module")
def task_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    random = np.random.default_rng(0)
    choices, endings = [], []
    for _ in range(24):
        words = [str(word) for word in random.choice(WORDS, size=4)]
        label = int(random.integers(4))
        choices.append({"query": words[0], "choices": [w + " x" for w in words], "label": label})
        endings.append({"text": f"{words[0]} {random.choice(LETTERS)}"})
    (folder / "written.yaml").write_text(WRITTEN.format(folder=folder))
    (folder / "rolling.yaml").write_text(ROLLING.format(folder=folder))
    for name, template, docs in (("choices", CHOICES, choices), ("endings", ENDINGS, endings)):
        (folder / f"{name}.yaml").write_text(template.format(folder=folder))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with two checkpoints; the last is final."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = write_tokenizer(folder / "tokenizer")
    for seed in (1, 2):
        save_causal_lm(tiny_model(seed), folder / f"step-{seed}", tokenizer)
    (folder / "base.json").write_text(json.dumps({"final": "step-2"}))
    return folder


def build(
    weights: Path, task_dir: Path, out: Path, *, known: Path | None = None, **changed: object
) -> pd.DataFrame:
    """Evaluate a checkpoint; without `known`, as one whose like was never seen."""
    spec = {"tasks": ["choices", "endings"], "limit": 20, "batch_size": 8, "folder": "final"}
    out.mkdir()
    inputs = {"weights": weights, "known": known or out.with_name(f"{out.name}-known")}
    evals.build(spec | {"task_dir": str(task_dir)} | changed, inputs, out)
    return pd.read_parquet(out / "results.parquet").set_index(["task", "metric"])


def lm_evals_own(
    folder: Path, task_dir: Path, *tasks: str, bootstrap_iters: int = 2000
) -> dict[str, dict[str, float]]:
    answer = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "dtype": "float32"},
        tasks=list(tasks or ("choices", "endings")),
        task_manager=TaskManager(include_defaults=False, include_path=str(task_dir)),
        batch_size=8,
        limit=20,
        device="cpu",
        bootstrap_iters=bootstrap_iters,
    )
    assert answer is not None
    return answer["results"]


def test_results_are_lm_evals_own_on_each_checkpoint_that_shares_a_model(
    weights: Path, task_dir: Path, tmp_path: Path
) -> None:
    for name in ("step-1", "step-2", "step-1"):
        ours = build(weights, task_dir, tmp_path / f"{len(list(tmp_path.iterdir()))}", folder=name)
        theirs = lm_evals_own(weights / name, task_dir)
        for task, metric in ours.index:
            assert ours.value[task, metric] == theirs[task][f"{metric},none"]
        for key in (("choices", "acc"), ("endings", "perplexity")):
            bootstrapped = theirs[key[0]][f"{key[1]}_stderr,none"]
            assert ours.stderr[key] == pytest.approx(bootstrapped, rel=0.1)


def test_checkpoints_on_the_way_go_by_their_number(task_dir: Path, tmp_path: Path) -> None:
    """An epoch that kept steps 2 and 5 before its last, 6, of the three that were asked for."""
    train, tokenizer = tmp_path / "train", write_tokenizer(tmp_path / "tokenizer")
    for step in (2, 5, 6):
        save_causal_lm(tiny_model(step), train / f"step-{step}", tokenizer)
    kept = [{"step": step, "folder": f"step-{step}"} for step in (2, 5, 6)]
    (train / "phase.json").write_text(json.dumps({"checkpoints": kept, "final": "step-6"}))
    for number, step in ((1, 2), (2, 5)):
        ours = build_kept(train, task_dir, tmp_path / f"kept-{number}", number=number)
        named = build(train, task_dir, tmp_path / f"named-{step}", folder=f"step-{step}")
        assert ours == {"step": step}
        results = pd.read_parquet(tmp_path / f"kept-{number}" / "results.parquet")
        pd.testing.assert_frame_equal(results.set_index(["task", "metric"]), named)
    assert build_kept(train, task_dir, tmp_path / "none", number=3) == {"step": None}
    assert [file.name for file in (tmp_path / "none").iterdir()] == ["checkpoint.json"]


def build_kept(train: Path, task_dir: Path, out: Path, *, number: int) -> dict[str, int | None]:
    """Evaluate a checkpoint by its number and return what says after which step it lies."""
    out.mkdir()
    spec = {"tasks": ["choices", "endings"], "limit": 20, "batch_size": 8, "kept": number}
    inputs = {"weights": train, "known": out.parent / "known"}
    evals.build(spec | {"task_dir": str(task_dir)}, inputs, out)
    found: dict[str, int | None] = json.loads((out / "checkpoint.json").read_text())
    return found


def test_items_add_up_to_the_results(weights: Path, task_dir: Path, tmp_path: Path) -> None:
    results = build(weights, task_dir, tmp_path / "out")
    items = pd.read_parquet(tmp_path / "out" / "items.parquet")
    means = items.groupby(["task", "metric"]).value.mean()
    assert means["choices", "acc"] == results.value["choices", "acc"]
    log_likelihood = means["endings", "perplexity"]
    assert np.exp(-log_likelihood) == pytest.approx(results.value["endings", "perplexity"])
    assert (results.n_items == 20).all()
    assert results.chance["choices", "acc"] == 0.25
    assert results.chance["endings", "acc"] == 0
    assert np.isnan(results.chance["endings", "perplexity"])


def test_metrics_behind_filters_are_taken_as_the_task_reports_them(
    weights: Path, task_dir: Path, tmp_path: Path
) -> None:
    ours = build(weights, task_dir, tmp_path / "out", tasks=["written"])
    theirs = lm_evals_own(weights / "step-2", task_dir, "written", bootstrap_iters=0)["written"]
    names = ["exact_match,flexible", "exact_match,strict-match"]
    assert [metric for _, metric in ours.index] == names
    items = pd.read_parquet(tmp_path / "out" / "items.parquet")
    for name in names:
        row = ours.loc["written", name]
        scores = items[items.metric == name]
        assert scores.item.tolist() == list(range(20))
        assert row.value == theirs[name] == scores.value.mean()
        assert (row.n_items, row.chance) == (20, 0)
        assert row.stderr == pytest.approx(scores.value.sem())


def test_metrics_whose_items_are_no_numbers_have_a_value_and_no_error(
    weights: Path, task_dir: Path, tmp_path: Path
) -> None:
    ours = build(weights, task_dir, tmp_path / "out", tasks=["rolling", "endings"])
    theirs = lm_evals_own(weights / "step-2", task_dir, "rolling", bootstrap_iters=0)["rolling"]
    for name in ("word_perplexity", "bits_per_byte"):
        row = ours.loc["rolling", name]
        assert row.value == theirs[f"{name},none"]
        assert row.n_items == 20
        assert np.isnan([row.stderr, row.chance]).all()
    items = pd.read_parquet(tmp_path / "out" / "items.parquet")
    assert set(items.task) == {"endings"}


def test_items_that_are_true_or_false_count() -> None:
    """A task's own metric may return `pred == gold` of two numpy values."""
    scored = [{"doc_id": k, "acc": np.int64(k) == np.int64(1)} for k in range(2)]
    assert _items("t", "acc", scored).value.tolist() == [0.0, 1.0]
    assert _items("t", "acc", [{"doc_id": 0, "acc": (True, False)}]).empty


def test_a_second_build_writes_the_same_bytes(
    weights: Path, task_dir: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        build(weights, task_dir, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The limit of each evaluation that really ran."""
    limits, run = [], evals.run_benchmarks

    def counted(harness: Harness, *, limit: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        limits.append(limit)
        return run(harness, limit=limit)

    monkeypatch.setattr(evals, "run_benchmarks", counted)
    return limits


def test_equal_weights_by_two_ways_are_evaluated_once(
    weights: Path, task_dir: Path, tmp_path: Path, evaluations: list[int | None]
) -> None:
    """The base's last, and what a training kept on its way."""
    train = tmp_path / "train"
    shutil.copytree(weights / "step-2", train / "step-7")
    kept = [{"step": 7, "folder": "step-7"}, {"step": 8, "folder": "step-8"}]
    (train / "phase.json").write_text(json.dumps({"checkpoints": kept, "final": "step-8"}))
    build(weights, task_dir, tmp_path / "base", known=tmp_path / "known")
    assert not progress.series()["evaluated"]["copied"]
    assert build_kept(train, task_dir, tmp_path / "kept", number=1) == {"step": 7}
    assert progress.series()["evaluated"]["copied"]
    assert evaluations == [20]
    for name in ("results.parquet", "items.parquet"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "base" / name).read_bytes()


@pytest.mark.parametrize(
    ("changed", "copied"),
    [
        ({}, True),
        ({"batch_size": 4}, False),
        ({"limit": 10}, False),
        ({"tasks": ["endings"]}, False),
        ({"folder": "step-1"}, False),
        ({"lm_eval": "0.4.99"}, False),
        ({"task_file": "choices.jsonl"}, False),
    ],
    ids=str,
)
def test_another_setting_is_evaluated_again(
    weights: Path,
    task_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluations: list[int | None],
    changed: dict[str, object],
    copied: bool,
) -> None:
    build(weights, task_dir, tmp_path / "one", known=tmp_path / "known")
    tasks = tmp_path / "tasks"
    shutil.copytree(task_dir, tasks)
    if "task_file" in changed:
        file = tasks / str(changed["task_file"])
        file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    if "lm_eval" in changed:
        monkeypatch.setattr(evals, "version", lambda _: changed["lm_eval"])
    spec = {name: to for name, to in changed.items() if name not in ("lm_eval", "task_file")}
    build(weights, tasks, tmp_path / "two", known=tmp_path / "known", **spec)
    assert progress.series()["evaluated"]["copied"] == copied
    assert len(evaluations) == (1 if copied else 2)


def test_the_error_of_a_perplexity_is_that_of_every_possible_resample() -> None:
    """Of two items, log-likelihoods 0 and −2: means 0, −1, −1, −2, as likely as each other."""
    resampled = np.exp([0.0, 1.0, 1.0, 2.0])
    found = _stderr("perplexity", float(np.e), np.array([0.0, -2.0]))
    assert found == pytest.approx(resampled.std())
    close = -2 + 0.01 * np.random.default_rng(0).standard_normal(400)
    delta = np.exp(2) * close.std() / 20
    assert _stderr("perplexity", float(np.exp(-close.mean())), close) == pytest.approx(
        delta, rel=0.01
    )


@pytest.mark.slow
def test_an_unknown_task_is_a_fault(weights: Path, task_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="choises"):
        build(weights, task_dir, tmp_path / "out", tasks=["choises"])
