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

from palimpsest.core.collapse import standard_error
from palimpsest.core.models import device
from palimpsest.faults import Fault

# lm-eval compiles its few templates anew for every item: half of a small model's evaluation.
lm_eval_utils.env.from_string = lru_cache(maxsize=256)(lm_eval_utils.env.from_string)

Samples = dict[str, list[dict[str, Any]]]

LOG_LIKELIHOODS = "perplexity"  # the metric whose items are log-likelihoods in nats


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

    results: task, metric, value, stderr, n_items, chance (NaN for perplexity); items: task,
    metric, item, value, where a perplexity's items are log-likelihoods in nats.
    """
    answer = evaluator.evaluate(
        lm=harness.lm, task_dict=harness.tasks, limit=limit, bootstrap_iters=0, log_samples=True
    )
    assert answer is not None
    items = _items(answer["samples"])
    rows = []
    for (task, metric), group in items.groupby(["task", "metric"], sort=True):
        value = float(answer["results"][task][f"{metric},none"])
        rows.append(
            {
                "task": task,
                "metric": metric,
                "value": value,
                "stderr": _stderr(str(metric), value, group.value.to_numpy()),
                "n_items": len(group),
                "chance": _chance(str(metric), answer["samples"][task]),
            }
        )
    return pd.DataFrame(rows), items


def _load_tasks(names: tuple[str, ...], folders: tuple[Path, ...]) -> dict[str, Any]:
    paths: list[str | Path] = [str(folder) for folder in folders]
    manager = TaskManager(include_defaults=False, include_path=paths)
    unknown = sorted(set(names) - set(manager.all_tasks))
    if unknown:
        raise Fault(f"evals.tasks: {unknown[0]} is in none of {', '.join(map(str, paths))}")
    return manager.load(list(names))


def _items(samples: Samples) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "task": task,
                "metric": metric,
                "item": [int(one["doc_id"]) for one in answered],
                "value": [float(one[metric]) for one in answered],
            }
        )
        for task, answered in sorted(samples.items())
        for metric in sorted(answered[0]["metrics"])
    ]
    return pd.concat(frames, ignore_index=True)


def _stderr(metric: str, value: float, items: np.ndarray) -> float:
    """Return the error of a mean; of a perplexity what a bootstrap without end would find.

    Resampled means of n log-likelihoods x have E[exp(−k·mean)] = (mean of exp(−k·x/n))ⁿ. Where the
    error of the mean is small, this is the delta method's value·error.
    """
    if metric != LOG_LIKELIHOODS:
        return standard_error(items)
    n, below = len(items), items.mean() - items
    first, second = (n * np.log(np.exp(k * below / n).mean()) for k in (1, 2))
    return float(value * np.exp(first) * np.sqrt(np.expm1(second - 2 * first)))


def _chance(metric: str, answered: list[dict[str, Any]]) -> float:
    """Return the expected score of guessing: one over the choices, 0 where the answer is free."""
    if metric == LOG_LIKELIHOODS:
        return float("nan")
    n_choices = np.array([len(one["arguments"]) for one in answered])
    return float(np.mean(np.where(n_choices > 1, 1 / n_choices, 0.0)))
