"""The largest size predicted from the others: does what was seen lie where the laws said?"""

from __future__ import annotations

from typing import Any

import pandas as pd
from scipy.stats import binom

from palimpsest.core.answers.answer import Answer, Question, Verdict, all_of
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import nats, percent, rate

HELD_OUT = Question(
    0,
    words="The largest size, predicted from the others",
    asked="Do the laws in size, fitted without the largest model, foretell its forgetting and its "
    "learning rates?",
    rule="Per quantity, the law in size against what was seen at the largest size. Yes where its "
    "mean error is below those of a constant and of the log-linear baseline, and its 95 % "
    "intervals hold no fewer of the values than the 2.5 % point of as many independent ones; no "
    "where a constant errs less or the intervals hold fewer. Without an interval, or where only "
    "the log-linear baseline errs less: not decidable. (`decrease-lr` is a line in logarithms: for "
    "rates it is that baseline.) The answer is yes when forgetting and rate "
    "both say so, no when one says no. Values of one model are not independent, so that the count "
    "is generous to the law.",
    lines="""\
replay:
  model: {sizes}
  seed: [0, 1, 2]
  replay_fraction: [0.0, 0.25, 0.5, 0.75]
""",
    figures=("held-out-size",),
    fewest_sizes=3,
)
JUDGED = ("forgetting", "rate")
COVERAGE, TAIL = 0.95, 0.025


def predicted_size(frames: Frames) -> Answer:
    """Answer whether the largest size is foretold, from the forecasts of the fits."""
    rows = pd.DataFrame(frames.fits["forecast"])
    judged = [what for what in JUDGED if len(rows) and (rows.quantity == what).any()]
    if not judged:
        return HELD_OUT.not_run("quantity measured at three sizes or more", frames)
    forms = {str(what): compared(ours) for what, ours in rows.groupby("quantity", sort=False)}
    verdicts = {what: _verdict(forms[what]) for what in judged}
    return HELD_OUT.answered(
        all_of(list(verdicts.values())) if len(judged) == len(JUDGED) else "not decidable",
        sentence="; ".join(f"{what}: {verdict}" for what, verdict in verdicts.items())
        + ". Errors are means over the values that every form could predict.",
        value="; ".join(
            f"{what}: error {_number(forms[what].iloc[0].error)}" + " nats" * (what != "rate")
            for what in judged
        ),
        interval="; ".join(
            f"{what}: {_covered(forms[what].iloc[0])} values inside the law's 95 % interval"
            for what in judged
        ),
        header=(
            *("quantity", "form", "mean error", "of what was seen", "values compared"),
            *("inside the interval", "replay or decrease: predicted (interval), seen"),
        ),
        rows=tuple(
            _form_row(what, row, rows[(rows.quantity == what) & (rows.form == row.Index)])
            for what, table in forms.items()
            for row in each(table)
        ),
    )


def _form_row(what: str, row: Any, values: pd.DataFrame) -> tuple[str, ...]:
    """Return one form's errors and coverage, and every value that it predicted."""
    unit = "" if what == "rate" else " nats"
    return (
        what,
        str(row.Index),
        f"{_number(row.error)}{unit}",
        percent(row.share),
        str(row.n_compared),
        _covered(row),
        "; ".join(_value_words(what, value) for value in each(values)),
    )


def _value_words(what: str, value: Any) -> str:
    """Return of which setting a prediction is, its interval, and what was seen."""
    write = rate if what == "rate" else nats
    share = value.decrease if what == "rate" else value.replay_fraction
    place = "" if what == "base loss" else f"{percent(float(share))}: "
    seen = f"seen {write(value.observed)}"
    if pd.isna(value.predicted):
        return f"{place}– ({value.reason}), {seen}"
    known = not pd.isna(value.low)
    ends = f"{write(value.low)} to {write(value.high)}" if known else "no interval"
    return f"{place}{write(value.predicted)} ({ends}), {seen}"


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Return error, share, n_compared, n_inside and n_intervals of each form, the law first.

    Only values that every fitted form predicted count towards the errors. `share` is the error
    over the mean size of what was seen.
    """
    places = rows.assign(place=rows.groupby("form").cumcount())
    errors = places.pivot(index="place", columns="form", values="error").astype(float)
    errors = errors.dropna(axis=1, how="all").dropna()
    inside = rows.groupby("form").inside
    seen = rows[rows.form == rows.form.iloc[0]].observed.reset_index(drop=True)
    table = pd.DataFrame(
        {
            "error": errors.mean().reindex(rows.form.unique()),
            "share": errors.mean() / seen[errors.index].abs().mean(),
            "n_compared": len(errors),
            "n_inside": inside.agg(lambda one: sum(value is True for value in one)),
            "n_intervals": inside.count(),
        }
    )
    return table.loc[list(rows.form.unique())]


def _verdict(forms: pd.DataFrame) -> Verdict:
    law, others = forms.iloc[0], forms.error.iloc[1:]
    if not law.n_intervals or pd.isna(law.error):
        return "not decidable"
    fewest = binom.ppf(TAIL, law.n_intervals, COVERAGE)
    if law.n_inside < fewest or others.get("constant", float("inf")) < law.error:
        return "no"
    return "yes" if (others.dropna() >= law.error).all() else "not decidable"


def _number(value: float) -> str:
    return f"{value:.2g}" if value == value else "–"


def _covered(row: Any) -> str:
    return f"{int(row.n_inside)} of {int(row.n_intervals)}"
