"""How much the bases were trained for their size, and what their numbers can therefore say."""

from __future__ import annotations

import pandas as pd

USUAL_TOKENS = 20.0  # per parameter, at the best use of compute: Hoffmann et al. 2203.15556
FEW_TOKENS = 2.0


def scale_words(bases: pd.DataFrame) -> str:
    """Return what to mind of bases that saw fewer tokens per parameter than is usual, else ""."""
    known = (bases.n_tokens / bases.n_params_total).dropna().astype(float)
    if known.empty or known.max() >= USUAL_TOKENS:
        return ""
    ends = sorted({f"{known.min():.2g}", f"{known.max():.2g}"}, key=float)
    told = (
        f"Mind the scale: the bases saw {' to '.join(ends)} tokens per parameter in pretraining, "
        f"where the best use of compute takes about {USUAL_TOKENS:g} (Hoffmann et al. 2022, "
        "arXiv 2203.15556). "
    )
    if known.max() < FEW_TOKENS:
        return told + (
            "They are near-untrained: this study shows that everything runs, and its numbers say "
            "nothing about language models."
        )
    return told + (
        "Little was learned that could be forgotten: the numbers are those of these bases, not "
        "of models in use."
    )
