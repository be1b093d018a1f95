"""One task's way, as progress, previews and the signals that end it early."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from easel_contract.events import Progress
from easel_worker.generation.studio import Shown


class Signals(Protocol):
    """What a watch passes on, and asks at every step: a task's `RunContext`, or that of several at once."""

    @property
    def interrupted(self) -> bool: ...

    @property
    def skip_wanted(self) -> bool: ...

    def report(self, progress: Progress) -> None: ...

    def check_cancelled(self) -> None: ...

    def take_skip(self) -> bool: ...


class Preview(Protocol):
    """Shows latents (n, 4, h, w) as pictures, or lets them pass."""

    def offer(self, step: int, latents: Shown, *, last: bool = False) -> None: ...


class TaskWatch:
    """Counts over all passes of one task, lets a cancel through at every step, and shows previews.

    Args:
        passes: How often a sampler will run: once per batch, twice with a hires pass.
        images: Pictures that the task will make.
        previewer: Makes the one that shows the latents of the checkpoint in use; asked for with each pass.
    """

    def __init__(
        self, ctx: Signals, passes: int, images: int, previewer: Callable[[], Preview | None]
    ) -> None:
        self._ctx = ctx
        self._passes = max(passes, 1)
        self._images = images
        self._make_previewer = previewer
        self._previewer: Preview | None = None
        self._begun = 0
        self._images_done = 0
        self._steps = 0
        self._ratio = 0.0
        self._began = time.monotonic()

    @property
    def images_done(self) -> int:
        """Pictures of the batches that are over."""
        return self._images_done

    @property
    def interrupted(self) -> bool:
        return self._ctx.interrupted

    @property
    def cut_short(self) -> bool:
        return self._ctx.interrupted or self._ctx.skip_wanted

    def loading(self) -> None:
        self._ctx.check_cancelled()
        self._ctx.report(Progress(stage="loading", images=self._images, batches=self._passes))

    def batch_begins(self, images: int) -> None:
        self._ctx.check_cancelled()
        self._ctx.take_skip()

    def pass_begins(self, steps: int) -> None:
        self._begun += 1
        # A script may make more than it could tell beforehand.
        self._passes = max(self._passes, self._begun)
        self._steps = steps
        self._previewer = self._make_previewer()

    def step(self, done: int, steps: int, shown: Shown) -> None:
        self._ctx.check_cancelled()
        self._steps = steps
        # DPM adaptive does not know how many steps it will make; a bar that goes back would look broken.
        self._ratio = ratio = max(
            self._ratio, min((self._begun - 1 + done / max(steps, 1)) / self._passes, 1.0)
        )
        spent = time.monotonic() - self._began
        self._ctx.report(
            Progress(
                stage="decoding" if done >= steps else "sampling",
                step=steps * (self._begun - 1) + min(done, steps),
                steps=steps * self._passes,
                image=self._images_done,
                images=self._images,
                ratio=ratio,
                batch=self._begun - 1,
                batches=self._passes,
                sampling_step=min(done, steps),
                sampling_steps=steps,
                skipped=self._ctx.skip_wanted,
                eta_s=round(spent / ratio - spent, 3) if ratio > 0 else None,
            )
        )
        if self._previewer is not None:
            self._previewer.offer(done, shown, last=done >= steps)

    def batch_done(self, images: int) -> None:
        self._images_done += images
        self._ctx.check_cancelled()

    def finished(self) -> None:
        """Everything is rendered."""
        self._ctx.report(
            Progress(
                stage="saving",
                step=self._steps * self._passes,
                steps=self._steps * self._passes,
                image=self._images,
                images=self._images,
                ratio=1.0,
                batch=self._passes - 1,
                batches=self._passes,
                sampling_step=self._steps,
                sampling_steps=self._steps,
                eta_s=0.0,
            )
        )
