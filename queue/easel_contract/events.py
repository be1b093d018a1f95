"""Progress of one task, as it travels from worker to whoever watches that task."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Progress(BaseModel):
    """A snapshot. Steps, images and batches count from 0; `ratio` is of the whole task, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    stage: Literal["loading", "sampling", "decoding", "saving"] = "sampling"
    step: int = Field(0, ge=0)
    steps: int = Field(0, ge=0)
    image: int = Field(0, ge=0)
    """Images finished so far."""
    images: int = Field(1, ge=0)
    ratio: float = Field(0.0, ge=0, le=1)
    batch: int = Field(0, ge=0)
    """The batch in work. A pass of its own over the same pictures (hires fix) counts as a batch."""
    batches: int = Field(1, ge=1)
    sampling_step: int = Field(0, ge=0)
    """Steps done of this batch, of `sampling_steps`."""
    sampling_steps: int = Field(0, ge=0)
    skipped: bool = False
    """This batch is being cut short."""
    eta_s: float | None = None
    """Seconds left, from the pace so far; None before there is one."""
