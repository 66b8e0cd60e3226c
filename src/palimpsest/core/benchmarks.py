"""lm-eval tasks and a model → each metric's value, its error, and the items behind it.

A harness is built once per architecture, tokenizer and task list; other checkpoints only swap
weights into its model. Values are lm-eval's own; errors are in closed form, so that no
resampling is needed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lm_eval import evaluator
from lm_eval import utils as lm_eval_utils
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer, PreTrainedModel

from palimpsest.core.collapse import TOLERANCES, standard_error
from palimpsest.core.models import device
from palimpsest.faults import Fault

# lm-eval compiles its few templates anew for every item: half of a small model's evaluation.
lm_eval_utils.env.from_string = lru_cache(maxsize=256)(lm_eval_utils.env.from_string)

Samples = list[dict[str, Any]]

LOG_LIKELIHOODS = "perplexity"  # the metric whose items are log-likelihoods in nats
NO_FILTER = "none"  # lm-eval's name of the filter that every task has unless it names others


class CachingHFLM(HFLM):
    """lm-eval's model for Hugging Face, which tokenises each text once however many checkpoints."""

    def __init__(self, model: PreTrainedModel, tokenizer: Any, batch_size: int) -> None:
        super().__init__(
            pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device=str(device())
        )
        self._known: dict[tuple[str, bool | None], list[int]] = {}

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return the token ids of a text."""
        key = (string, add_special_tokens)
        if key not in self._known:
            self._known[key] = super().tok_encode(string, add_special_tokens, **kwargs)
        return self._known[key]

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood in nats, whether greedy decoding gives it) per request."""
        return super().loglikelihood(requests, disable_tqdm=True)


@dataclass(frozen=True)
class Harness:
    """A model inside lm-eval with the tasks it is asked."""

    model: PreTrainedModel
    lm: CachingHFLM
    tasks: dict[str, Any]


def make_harness(
    model: PreTrainedModel,
    tokenizer_folder: Path,
    *,
    tasks: tuple[str, ...],
    folders: tuple[Path, ...],
    batch_size: int,
) -> Harness:
    """Load tasks from folders of task files and wrap the model.

    lm-eval's own 14,000 task files are never parsed. Raises Fault for a task that is not there.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    lm = CachingHFLM(model, tokenizer, batch_size)
    return Harness(model, lm, _load_tasks(tasks, folders))


def run_benchmarks(harness: Harness, *, limit: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (results, items) for the weights now in the harness's model.

    results: task, metric, value, stderr, n_items, chance (NaN but for accuracies); items: task,
    metric, item, value, where a perplexity's items are log-likelihoods in nats. A metric behind a
    filter is called `metric,filter`; what is no mean of numbers has no error.
    """
    answer = evaluator.evaluate(
        lm=harness.lm, task_dict=harness.tasks, limit=limit, bootstrap_iters=0, log_samples=True
    )
    assert answer is not None
    rows, frames = [], []
    for task, answered in sorted(answer["samples"].items()):
        for metric, scored in sorted(_by_metric(answered).items()):
            items = _items(task, metric, scored)
            frames.append(items)
            rows.append(_result(task, metric, scored, items, answer["results"][task]))
    return pd.DataFrame(rows), pd.concat(frames, ignore_index=True)


def _load_tasks(names: tuple[str, ...], folders: tuple[Path, ...]) -> dict[str, Any]:
    paths: list[str | Path] = [str(folder) for folder in folders]
    manager = TaskManager(include_defaults=False, include_path=paths)
    unknown = sorted(set(names) - set(manager.all_tasks))
    if unknown:
        raise Fault(f"evals.tasks: {unknown[0]} is in none of {', '.join(map(str, paths))}")
    return manager.load(list(names))


def _by_metric(answered: Samples) -> dict[str, Samples]:
    """Return the items that each metric scores, under lm-eval's name of it without `,none`.

    A task with several filters answers each item once per filter.
    """
    found: dict[str, Samples] = {}
    for one in answered:
        for metric in one["metrics"]:
            name = metric if one["filter"] == NO_FILTER else f"{metric},{one['filter']}"
            found.setdefault(name, []).append(one)
    return found


def _items(task: str, metric: str, scored: Samples) -> pd.DataFrame:
    """Return each item's number; none where items are not numbers, such as (answer, truth)."""
    values = [one[metric.partition(",")[0]] for one in scored]
    if not all(isinstance(value, (int, float, np.number, np.bool_)) for value in values):
        scored, values = [], []
    return pd.DataFrame(
        {
            "task": task,
            "metric": metric,
            "item": np.array([one["doc_id"] for one in scored], np.int64),
            "value": np.array(values, np.float64),
        }
    )


def _result(
    task: str, metric: str, scored: Samples, items: pd.DataFrame, reported: dict[str, Any]
) -> dict[str, Any]:
    name, _, filtered = metric.partition(",")
    value = float(reported[f"{name},{filtered or NO_FILTER}"])
    return {
        "task": task,
        "metric": metric,
        "value": value,
        "stderr": _stderr(metric, value, items.value.to_numpy()),
        "n_items": len(scored),
        "chance": _chance(metric, scored),
    }


def _stderr(metric: str, value: float, items: np.ndarray) -> float:
    """Return the error of a mean; of a perplexity what a bootstrap without end would find.

    Resampled means of n log-likelihoods x have E[exp(−k·mean)] = (mean of exp(−k·x/n))ⁿ. Where the
    error of the mean is small, this is the delta method's value·error. Of anything else: NaN.
    """
    if metric != LOG_LIKELIHOODS:
        is_mean = len(items) > 0 and np.isclose(items.mean(), value)
        return standard_error(items) if is_mean else float("nan")
    n, below = len(items), items.mean() - items
    first, second = (n * np.log(np.exp(k * below / n).mean()) for k in (1, 2))
    return float(value * np.exp(first) * np.sqrt(np.expm1(second - 2 * first)))


def _chance(metric: str, answered: Samples) -> float:
    """Return an accuracy's score of guessing: one over the choices, 0 where the answer is free."""
    name = metric.partition(",")[0]
    if name not in TOLERANCES or name == LOG_LIKELIHOODS:
        return float("nan")
    n_choices = np.array([len(one["arguments"]) for one in answered])
    return float(np.mean(np.where(n_choices > 1, 1 / n_choices, 0.0)))
