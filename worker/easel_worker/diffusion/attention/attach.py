"""Letting units act on a checkpoint's UNet for as long as a pass lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from easel_worker.diffusion.attention.image_prompt import ActingPrompt
from easel_worker.diffusion.attention.layers import find_layout
from easel_worker.diffusion.attention.reference import ActingReference
from easel_worker.diffusion.attention.units import ImagePrompt, Reference
from easel_worker.diffusion.guidance import Guidance
from easel_worker.diffusion.guidance_hooks import Forward, UNetInput


@contextmanager
def attention_units(guidance: Guidance, units: Sequence[ImagePrompt | Reference]) -> Iterator[None]:
    """While it lasts, `units` act on the UNet of `guidance`'s checkpoint; put it around the sampler's run.

    They act on that UNet only: a refiner that takes over goes without. Without units nothing is done, and
    afterwards the UNet is as before, however the block is left.

    Raises:
        JobError: an adapter does not fit the checkpoint, or a unit's layer weights are of another number;
            names the unit's `field`.
    """
    if not units:
        yield
        return
    checkpoint, hooks = guidance.checkpoint, guidance.hooks
    layout = find_layout(checkpoint.unet)
    prompts = [ActingPrompt(unit, layout, checkpoint.name) for unit in units if isinstance(unit, ImagePrompt)]
    references = [ActingReference(unit, layout, checkpoint) for unit in units if isinstance(unit, Reference)]

    def prepare(inputs: UNetInput, forward: Forward) -> None:
        if inputs.unet is not checkpoint.unet:
            return
        for prompt in prompts:
            prompt.prepare(inputs)
        acting = [reference for reference in references if reference.acts(inputs.progress)]
        for reference in references:
            reference.rest()
        for reference in acting:
            reference.write(inputs, forward)
        for reference in acting:
            reference.read()

    with ExitStack() as stack:
        for unit in (*prompts, *references):
            stack.callback(unit.detach)
            unit.attach()
        hooks.before_forward.append(prepare)
        stack.callback(hooks.before_forward.remove, prepare)
        yield
