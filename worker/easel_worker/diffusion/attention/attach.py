"""Letting units act on a checkpoint's UNet for as long as a pass lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from easel_worker.diffusion.attention.image_prompt import ActingPrompt
from easel_worker.diffusion.attention.layers import find_layout
from easel_worker.diffusion.attention.reference import ActingReference
from easel_worker.diffusion.attention.revision import ActingRevisions
from easel_worker.diffusion.attention.units import ImagePrompt, Reference, Revision, Unit
from easel_worker.diffusion.guidance import Guidance
from easel_worker.diffusion.guidance_hooks import Forward, UNetInput


class _Acting(Protocol):
    def attach(self) -> None: ...

    def detach(self) -> None: ...


@contextmanager
def attention_units(guidance: Guidance, units: Sequence[Unit]) -> Iterator[None]:
    """While it lasts, `units` act on the UNet of `guidance`'s checkpoint; put it around the sampler's run.

    They act on that UNet only: a refiner that takes over goes without. Without units nothing is done, and
    afterwards the UNet is as before, however the block is left.

    Raises:
        JobError: a unit does not fit the checkpoint, or has layer weights of another number; names its
            `field`.
    """
    if not units:
        yield
        return
    checkpoint, hooks = guidance.checkpoint, guidance.hooks
    layout = find_layout(checkpoint.unet)
    prompts = [ActingPrompt(unit, layout, checkpoint.name) for unit in units if isinstance(unit, ImagePrompt)]
    references = [ActingReference(unit, layout, checkpoint) for unit in units if isinstance(unit, Reference)]
    revisions = ActingRevisions([unit for unit in units if isinstance(unit, Revision)], checkpoint)

    def prepare(inputs: UNetInput, forward: Forward) -> None:
        if inputs.unet is not checkpoint.unet:
            return
        for prompt in prompts:
            prompt.prepare(inputs)
        revisions.prepare(inputs)
        seen = [reference for reference in references if reference.acts(inputs.progress)]
        for reference in references:
            reference.rest()
        for reference in seen:
            reference.write(inputs, forward)
        for reference in seen:
            reference.read()

    everything: list[_Acting] = [*prompts, *references, revisions]
    with ExitStack() as stack:
        for acting in everything:
            stack.callback(acting.detach)
            acting.attach()
        hooks.before_forward.append(prepare)
        stack.callback(hooks.before_forward.remove, prepare)
        yield
