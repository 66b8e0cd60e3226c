"""The settings that kinds of stream have in common."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Order = Literal["time", "shuffled", "reversed", "easy-first", "hard-first", "cyclic"]


class Replayed(BaseModel):
    """Settings of every stream: how an update repeats and how original text is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence_length: int = Field(
        ge=2,
        description="targets per row; rows of the original corpus always have this length,"
        " and the seed's offset lies below it",
    )
    repeats: int = Field(1, ge=1, description="updates on a batch before moving on")
    replay_order: Order = Field(
        "shuffled",
        description="order of the rows drawn for one epoch: shuffled keeps the order of the draw",
    )
    replay_cycles: int = Field(
        2,
        ge=2,
        description="replay_order cyclic: rounds over the same drawn rows in one epoch; the draw"
        " is smaller by this factor",
    )


class Stretch(BaseModel):
    """The batches of a phase that trains on a part of its corpus only, as shares of all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float = Field(0.0, ge=0, lt=1, description="share of the batches, in time order, before")
    end: float = Field(1.0, gt=0, le=1, description="share of the batches up to which it goes")

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start {self.start:g} is not below end {self.end:g}")
        return self

    def batches(self, n_batches: int) -> range:
        """Return the batches of the stretch; shares are rounded, at least one batch is left."""
        start = min(round(self.start * n_batches), n_batches - 1)
        return range(start, max(round(self.end * n_batches), start + 1))


class Ordered(Replayed):
    """Settings of the streams that take the new corpus piece by piece."""

    n_new_tokens: int | None = Field(
        None,
        ge=1,
        description="targets of the new corpus that are used, from the seed's offset on;"
        " null: all that follow it",
    )
    part: Stretch | None = Field(
        None,
        description="train on this stretch of the corpus only, cut as the whole would be: to"
        " retrain a middle part; null: on all of it",
    )
    order: Order = Field(
        "time",
        description="order in which the batches of one epoch come; at a replay_fraction of 1, of"
        " the replayed rows, unless replay_order says another",
    )
    cycles: int = Field(
        2, ge=2, description="order cyclic: rounds over the same pieces in one epoch"
    )
