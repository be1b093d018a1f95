"""Turns sampler steps into progress of the whole task."""

from __future__ import annotations

import time

from easel_contract.events import Progress
from easel_worker.handlers.base import RunContext


class StepReporter:
    """Counts over all batches of one task, and lets a cancel through at every step."""

    def __init__(self, ctx: RunContext, batches: int, images: int) -> None:
        self._ctx = ctx
        self._batches = batches
        self._images = images
        self._images_done = 0
        self._batches_done = 0
        self._steps = 0
        self._last = 0
        self._began = time.monotonic()

    def loading(self) -> None:
        """The checkpoint is about to be fetched."""
        self._ctx.check_cancelled()
        self._ctx.report(Progress(stage="loading", images=self._images, batches=self._batches))

    def step(self, done: int, steps: int) -> None:
        """`done` of `steps` steps of this batch ran. Raises `JobStoppedError` when it must not go on."""
        self._ctx.check_cancelled()
        all_steps = self._steps = steps * self._batches
        self._last = steps
        step = steps * self._batches_done + done
        spent = time.monotonic() - self._began
        self._ctx.report(
            Progress(
                stage="decoding" if done == steps else "sampling",
                step=step,
                steps=all_steps,
                image=self._images_done,
                images=self._images,
                ratio=step / all_steps,
                batch=self._batches_done,
                batches=self._batches,
                sampling_step=done,
                sampling_steps=steps,
                skipped=self._ctx.skip_wanted,
                eta_s=round(spent / step * (all_steps - step), 3),
            )
        )

    def batch_done(self, images: int) -> None:
        """A batch is decoded."""
        self._batches_done += 1
        self._images_done += images
        self._ctx.check_cancelled()
        if self._batches_done == self._batches:
            self._ctx.report(
                Progress(
                    stage="saving",
                    step=self._steps,
                    steps=self._steps,
                    image=self._images,
                    images=self._images,
                    ratio=1.0,
                    batch=self._batches - 1,
                    batches=self._batches,
                    sampling_step=self._last,
                    sampling_steps=self._last,
                    eta_s=0.0,
                )
            )
