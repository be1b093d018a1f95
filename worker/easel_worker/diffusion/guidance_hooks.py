"""What takes part in guidance beside the prompts: masks, ControlNets, a refiner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from easel_worker.diffusion.unet_batch import Call

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint
    from easel_worker.diffusion.conditioning import Conditioning
    from easel_worker.diffusion.guidance import Guidance
    from easel_worker.diffusion.size_ids import SizeIds

Blend = Callable[[torch.Tensor, float], torch.Tensor]
"""(latent, sigma) -> latent with the parts put back that must not change."""


@dataclass(frozen=True, eq=False)
class Residuals:
    """What control networks add to the UNet; all tensors have one row per row of the forward pass, or one for
    all.

    down: of a ControlNet, one per skip connection; middle: its one for the middle block. within: of a
    T2I-adapter, one per level, added where the level's last layer ends (and, in SDXL, after the middle
    block).
    """

    down: Sequence[torch.Tensor] = ()
    middle: torch.Tensor | None = None
    within: Sequence[torch.Tensor] = ()


@dataclass(frozen=True, eq=False)
class UNetInput:
    """What hooks see of one forward pass; tensors have one row per text and image.

    sample: the scaled latents, (rows, 4, h, w), without further channels. call: model calls before this one.
    progress: the part of the sampler's steps that are done, 0 to below 1; the two calls of a second-order
    step see the same. checkpoint: whose UNet it is; a refiner takes over on the way.
    """

    sample: torch.Tensor
    timesteps: torch.Tensor
    sigma: float
    rows: Call
    call: int
    progress: float
    checkpoint: Checkpoint

    @property
    def unet(self) -> Any:
        """The checkpoint's UNet."""
        return self.checkpoint.unet


ResidualHook = Callable[[UNetInput], Residuals | None]

Forward = Callable[[torch.Tensor, "torch.Tensor | None"], torch.Tensor]
"""(sample, concat) -> the UNet's output for another latent and other further channels, with the same texts
and timestep and without residuals."""

ForwardHook = Callable[[UNetInput, Forward], None]


@dataclass(eq=False)
class GuidanceHooks:
    """What else takes part; all may be empty.

    blend_input: on the latent before the UNet sees it (timestep samplers with a mask). blend_denoised: on the
    result (all others). before_call: `hook(guidance, sigma)`, may `switch` the model. residuals: their
    results are summed. before_forward: `hook(inputs, forward)` right before the UNet runs; may run it first
    with another latent.
    """

    blend_input: Blend | None = None
    blend_denoised: Blend | None = None
    before_call: list[Callable[[Guidance, float], None]] = field(default_factory=list)
    residuals: list[ResidualHook] = field(default_factory=list)
    before_forward: list[ForwardHook] = field(default_factory=list)


def keep_unmasked(init: torch.Tensor, mask: torch.Tensor) -> Blend:
    """For `blend_denoised`: `init` where `mask` is 0, the model's guess where it is 1, mixed between.

    init: the picture's latents, (images, 4, h, w); mask: broadcastable to it, 0 to 1.
    """
    return lambda latent, sigma: torch.lerp(init, latent, mask)


def keep_unmasked_input(init: torch.Tensor, mask: torch.Tensor) -> Blend:
    """For `blend_input`: as `keep_unmasked`, on the noisy latent.

    A1111's timestep samplers put the picture in without noise, in the scale of unit variance; here it is
    brought to that of x = data + sigma * noise.
    """
    return lambda latent, sigma: torch.lerp(init * (sigma**2 + 1.0) ** 0.5, latent, mask)


@dataclass(frozen=True, eq=False)
class Successor:
    """What `Guidance.switch` goes on with. picture: further input channels, where this model takes some."""

    checkpoint: Checkpoint
    conditioning: Conditioning
    size_ids: SizeIds | None = None
    empty: torch.Tensor | None = None
    picture: torch.Tensor | None = None


@dataclass(eq=False)
class RefinerSwitch:
    """A `before_call` hook that lets another model finish the picture, once.

    at: from which part of the way on, 0 to 1. load: the other model, asked for when it is time. by_steps: the
    way is counted in model calls (A1111's option refiner_switch_by_sample_steps); otherwise in training
    timesteps, from the last down.
    """

    at: float
    load: Callable[[], Successor]
    by_steps: bool = False
    done: bool = False

    def __call__(self, guidance: Guidance, sigma: float) -> None:
        if self.done or self._way(guidance, sigma) < self.at:
            return
        self.done = True
        to = self.load()
        guidance.switch(
            to.checkpoint, to.conditioning, size_ids=to.size_ids, empty=to.empty, picture=to.picture
        )

    def _way(self, guidance: Guidance, sigma: float) -> float:
        if self.by_steps:
            return guidance.call / guidance.calls
        sigmas = guidance.checkpoint.sigmas
        nearest = int(abs(sigmas.table - sigma).argmin())
        return (len(sigmas) - 1 - nearest) / len(sigmas)
