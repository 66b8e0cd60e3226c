"""What an answer is, and the words in which all questions decide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import indent
from typing import Any, Literal

import numpy as np
import pandas as pd

from palimpsest.core.answers.frames import Frames
from palimpsest.core.seeds import reach

Verdict = Literal["yes", "no", "not decidable", "not run"]
Rows = tuple[tuple[str, ...], ...]
SPARE_SIZES = {
    "neox-100k": "{hidden_size: 64, layers: 2, heads: 4}",
    "neox-336k": "{hidden_size: 96, layers: 3, heads: 4}",
    "neox-793k": "{hidden_size: 128, layers: 4, heads: 4}",
}
SHARED = "(a claim about one of several settings shares its 5 % among them all)"


@dataclass(frozen=True)
class Table:
    """Rows beside an answer that decide nothing; `absent` says why there are none."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: Rows
    absent: str


@dataclass(frozen=True)
class Answer:
    """One question of the study, decided; `value` and `interval` are ready to read."""

    number: int
    question: str
    asked: str
    verdict: Verdict
    sentence: str
    rule: str
    value: str = "–"
    interval: str = ""
    figures: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: Rows = ()
    lines: str = ""
    beside: tuple[Table, ...] = ()

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """The values, each with its interval where every value has one; else all of them alone."""
        values, intervals = self.value.split("; "), self.interval.split("; ")
        if len(values) != len(intervals):
            return [(value, "") for value in values]
        return list(zip(values, intervals, strict=True))


@dataclass(frozen=True)
class Question:
    """What is asked, in the study's words and as yes or no, with the rule that decides.

    `lines` are the experiments that answer it, for params.yaml: {sizes} stands for all sizes,
    {early} for a kept checkpoint of the pretraining. Fewer than `fewest_sizes` are made up with
    sizes of the default study.
    """

    number: int
    words: str
    asked: str
    rule: str
    lines: str
    figures: tuple[str, ...] = ()
    fewest_sizes: int = 1

    def not_run(self, missing: str, frames: Frames) -> Answer:
        """Answer that the study has no runs for this question; `missing` says which."""
        more = [f"`{name}: {shape}`" for name, shape in self.sizes_to_add(frames).items()]
        first = f"With {', '.join(more)} under `models: sizes:`, these" if more else "These"
        return self.answered(
            "not run",
            sentence=f"These tables hold no {missing}. {first} lines, pasted under `experiments:` "
            "in params.yaml, would answer it:",
            lines=self.lines_for(frames),
        )

    def sizes_to_add(self, frames: Frames) -> dict[str, str]:
        """Return names and shapes of sizes that the question asks for beyond those of the study."""
        spare = {name: shape for name, shape in SPARE_SIZES.items() if name not in frames.sizes}
        n_missing = max(self.fewest_sizes - len(frames.sizes), 0)
        return dict(list(spare.items())[:n_missing])

    def lines_for(self, frames: Frames) -> str:
        """Return the lines that would answer the question, to be pasted under experiments:.

        Experiments bear the question's number, so that they stand beside any others.
        """
        sizes = ", ".join([*frames.sizes, *self.sizes_to_add(frames)])
        steps = frames.bases.step[~frames.bases.final.astype(bool)].dropna()
        early = int(steps.min()) if len(steps) else 100
        lines = self.lines.replace("{sizes}", f"[{sizes}]").replace("{early}", str(early))
        prefix = f"question-{self.number}-" if self.number else "largest-size-"
        return indent(re.sub(r"^(?=\S)", prefix, lines, flags=re.MULTILINE), "  ")

    def answered(
        self,
        verdict: Verdict,
        *,
        sentence: str,
        value: str = "–",
        interval: str = "",
        header: tuple[str, ...] = (),
        rows: Rows = (),
        lines: str = "",
    ) -> Answer:
        """Answer with a verdict, its number and the table behind it."""
        return Answer(
            self.number,
            question=self.words,
            asked=self.asked,
            verdict=verdict,
            sentence=sentence,
            rule=self.rule,
            value=value,
            interval=interval,
            figures=self.figures,
            header=header,
            rows=rows,
            lines=lines,
        )


def every(cells: pd.DataFrame, threshold: Any, *, among: int = 1) -> Verdict:
    """Say yes when every cell's interval lies above its threshold, no when one lies below.

    cells: mean, stderr, n_free. One cell among many is called below only by an interval that
    shares the 5 % with the others (Bonferroni). Where one of several claims is enough for yes,
    `among` says how many there are: they share the 5 % too.
    """
    if ((cells["mean"] + reach(cells, n_tests=len(cells))) < threshold).any():
        return "no"
    above = (cells["mean"] - reach(cells, n_tests=among)) > threshold
    return "yes" if len(cells) and above.all() else "not decidable"


def some(cells: pd.DataFrame, threshold: Any) -> Verdict:
    """Say yes when one cell's interval lies above its threshold, no when every one lies below."""
    if ((cells["mean"] - reach(cells, n_tests=len(cells))) > threshold).any():
        return "yes"
    below = (cells["mean"] + reach(cells)) < threshold
    return "no" if len(cells) and below.all() else "not decidable"


def within(cells: pd.DataFrame, tolerance: float) -> Verdict:
    """Say yes when every cell's interval lies within ± tolerance, no when one lies outside."""
    away = cells.assign(mean=cells["mean"].abs())
    shared = reach(away, n_tests=len(away))
    if ((away["mean"] - shared) > tolerance).any():
        return "no"
    inside = (away["mean"] + reach(away)) <= tolerance
    return "yes" if len(cells) and inside.all() else "not decidable"


def decide(low: float, high: float, *, yes_above: float, no_below: float) -> Verdict:
    """Say yes when the interval lies above `yes_above`, no when it lies below `no_below`."""
    if not np.isfinite([low, high]).all():
        return "not decidable"
    if low > yes_above:
        return "yes"
    return "no" if high < no_below else "not decidable"


def any_of(verdicts: list[Verdict]) -> Verdict:
    """Say yes when one says yes, no when all say no."""
    if "yes" in verdicts:
        return "yes"
    return "no" if verdicts and set(verdicts) == {"no"} else "not decidable"


def all_of(verdicts: list[Verdict]) -> Verdict:
    """Say yes when all say yes, no when one says no."""
    if "no" in verdicts:
        return "no"
    return "yes" if verdicts and set(verdicts) == {"yes"} else "not decidable"
