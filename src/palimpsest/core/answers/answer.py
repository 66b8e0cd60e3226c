"""What an answer is, and the words in which all questions decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["yes", "no", "not decidable", "not run"]
Rows = tuple[tuple[str, ...], ...]


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


@dataclass(frozen=True)
class Question:
    """What is asked, in the study's words and as yes or no, with the rule that decides."""

    number: int
    words: str
    asked: str
    rule: str
    figures: tuple[str, ...] = ()

    def not_run(self, missing: str) -> Answer:
        """Answer that the study has no runs for this question; `missing` says which."""
        return self.answered("not run", sentence=f"These tables hold no {missing}.")

    def answered(
        self,
        verdict: Verdict,
        *,
        sentence: str,
        value: str = "–",
        interval: str = "",
        header: tuple[str, ...] = (),
        rows: Rows = (),
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
        )


def decide(low: float, high: float, *, yes_above: float, no_below: float) -> Verdict:
    """Say yes when the interval lies above `yes_above`, no when it lies below `no_below`."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "not decidable"
    if low > yes_above:
        return "yes"
    return "no" if high < no_below else "not decidable"


def all_of(verdicts: list[Verdict]) -> Verdict:
    """Say yes when all say yes, no when one says no."""
    if "no" in verdicts:
        return "no"
    return "yes" if verdicts and set(verdicts) == {"yes"} else "not decidable"
