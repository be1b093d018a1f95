"""Letting units act on a checkpoint's UNet for as long as a pass lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from easel_worker.diffusion.attention.units import ImagePrompt, Reference
from easel_worker.diffusion.guidance import Guidance


@contextmanager
def attention_units(guidance: Guidance, units: Sequence[ImagePrompt | Reference]) -> Iterator[None]:
    """While it lasts, `units` act on the UNet of `guidance`'s checkpoint; put it around the sampler's run.

    They act on that UNet only: a refiner that takes over goes without. Without units nothing is done.

    Raises:
        JobError: an adapter does not fit the checkpoint, or a unit's layer weights are of another number;
            names the unit's `field`.
    """
    raise NotImplementedError
    yield
