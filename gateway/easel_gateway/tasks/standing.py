"""How far a running task is, in A1111's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from easel_contract.events import Progress

PREPARING = -1
"""A1111's `job_count` of a task that loads its model or encodes its prompt."""


@dataclass(frozen=True)
class Standing:
    """Where a running task is: batch `job_no` of `job_count` (`PREPARING` before the first), step
    `sampling_step` of that batch's `sampling_steps`."""

    job_no: int = 0
    job_count: int = PREPARING
    sampling_step: int = 0
    sampling_steps: int = 0
    skipped: bool = False
    eta_s: float | None = None

    @classmethod
    def of(cls, snapshot: Mapping[str, object]) -> Standing:
        """From the worker's last snapshot; one that is empty, or that we cannot read, is no progress yet."""
        try:
            progress = Progress.model_validate(snapshot) if snapshot else None
        except ValidationError:
            progress = None
        if progress is None or progress.stage == "loading":
            return cls()
        by_batch = (
            progress.sampling_steps > 0
        )  # a handler of the operator's own may count the whole task only
        return cls(
            job_no=progress.batch,
            job_count=progress.batches,
            sampling_step=progress.sampling_step if by_batch else progress.step,
            sampling_steps=progress.sampling_steps if by_batch else progress.steps,
            skipped=progress.skipped,
            eta_s=progress.eta_s,
        )

    @property
    def progress(self) -> float:
        """0 to 1, never 0 once a worker has begun: A1111's formula."""
        value = 0.01
        if self.job_count > 0:
            value += self.job_no / self.job_count
            if self.sampling_steps > 0:
                value += self.sampling_step / (self.sampling_steps * self.job_count)
        return min(value, 1.0)
