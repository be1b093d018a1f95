"""Tasks that differ in prompt and seed only, rendered in one batch: joined before, taken apart afterwards.

Each keeps what is its own. Progress and previews are told to each of its pictures alone, a task that is
cancelled is left out of the results, and one that is interrupted or skipped ends the batch: it has its
pictures as far as they got, and the others are rendered anew, by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

import torch

from easel_contract.events import Progress
from easel_worker.generation.job import Job
from easel_worker.generation.plan import Plan
from easel_worker.generation.result import Result
from easel_worker.generation.studio import Shown
from easel_worker.handlers.base import RunContext
from easel_worker.handlers.watch import Preview
from easel_worker.job import JobStoppedError
from easel_worker.previews import PreviewImage

MakePreviewer = Callable[[Callable[[PreviewImage], None]], Preview | None]
"""Makes the previewer of one task, which shows its pictures with the function given."""


def together(plans: Sequence[Plan], *, max_batch_size: int) -> Job | None:
    """One job for the pictures of all plans; None where they are not alike after all, or where a picture
    depends on its batch."""
    first = plans[0].job
    if first.options.no_dpmpp_sde_batch_determinism or first.source or first.firstpass or first.units:
        return None
    if any(plan.request.script is not None or len(plan.job.batches) > 1 for plan in plans):
        return None
    if any(replace(plan.job, pictures=first.pictures) != first for plan in plans[1:]):
        return None
    pictures = tuple(picture for plan in plans for picture in plan.job.pictures)
    batch_size = max(first.batch_size, min(len(pictures), max_batch_size))
    return replace(first, pictures=pictures, batch_size=batch_size)


class SharedSignals:
    """The signals of several tasks as those of one batch.

    Args:
        contexts: One for each task.
        counts: How many pictures each has, in the same order.
    """

    def __init__(self, contexts: Sequence[RunContext], counts: Sequence[int]) -> None:
        self.contexts = contexts
        ends = list(accumulate(counts))
        self.places = [range(end - count, end) for count, end in zip(counts, ends, strict=True)]
        """Which of all pictures are each task's."""
        self.skipped: set[int] = set()
        """Tasks, by their place, whose wish to skip was heard."""

    @property
    def interrupted(self) -> bool:
        return any(ctx.interrupted for ctx in self.contexts)

    @property
    def skip_wanted(self) -> bool:
        return any(ctx.skip_wanted for ctx in self.contexts)

    def take_skip(self) -> bool:
        taken = {i for i, ctx in enumerate(self.contexts) if ctx.take_skip()}
        self.skipped |= taken
        return bool(taken)

    def ended_early(self, i: int) -> bool:
        """Whether task `i` itself was interrupted or skipped."""
        ctx = self.contexts[i]
        return ctx.interrupted or ctx.skip_wanted or i in self.skipped

    def check_cancelled(self) -> None:
        """Raise `JobStoppedError` when every task was stopped."""
        for ctx in self.contexts:
            try:
                ctx.check_cancelled()
            except JobStoppedError as error:
                stopped = error
            else:
                return
        raise stopped

    def report(self, progress: Progress) -> None:
        for ctx, place in zip(self.contexts, self.places, strict=True):
            done = min(max(progress.image - place.start, 0), len(place))
            ctx.report(progress.model_copy(update={"image": done, "images": len(place)}))

    def previews(self, make: MakePreviewer, start: int) -> Preview:
        """Shows each task what its own pictures look like; `start` is the number of the batch's first."""
        shown = [(make(ctx.preview), place) for ctx, place in zip(self.contexts, self.places, strict=True)]
        return _SharedPreview([(one, place) for one, place in shown if one is not None], start)


@dataclass(frozen=True)
class _SharedPreview:
    shown: Sequence[tuple[Preview, range]]
    start: int

    def offer(self, step: int, latents: Shown, *, last: bool = False) -> None:
        for preview, place in self.shown:
            own = slice(max(place.start - self.start, 0), max(place.stop - self.start, 0))
            preview.offer(step, partial(_part, latents, own), last=last)


def _part(latents: Shown, own: slice) -> torch.Tensor | None:
    """What is shown of a task's own pictures; None where the batch has none of them."""
    found = latents()
    part = None if found is None else found[own]
    return part if part is not None and len(part) else None


def apart(result: Result, plans: Sequence[Plan], signals: SharedSignals) -> list[Result | None]:
    """What each task has of the batch; None for one that is to be rendered by itself: it was stopped, or the
    batch ended before its pictures were whole although it had not asked for that."""
    own: list[Result | None] = []
    for i, (plan, place) in enumerate(zip(plans, signals.places, strict=True)):
        shots = [replace(shot, job=plan.job) for shot in result.shots[place.start : place.stop]]
        stopped = signals.contexts[i].job.stop_reason is not None
        cut = len(shots) < len(place) or not all(shot.whole for shot in shots)
        if stopped or not shots or (cut and not signals.ended_early(i)):
            own.append(None)
        else:
            own.append(Result(shots, interrupted=cut and signals.contexts[i].interrupted))
    return own
