"""The model as samplers want it: a noisy latent and its sigma in, the denoised latent out.

Around the UNet: classifier-free guidance (Ho & Salimans 2022), also with several prompts (Liu et al. 2022,
"Compositional Visual Generation with Composable Diffusion Models") and with a picture (InstructPix2Pix,
Brooks et al. 2023); prompts that change; masks; further input channels; a second model that takes over; and
what ControlNets add.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import Conditioning, Moment
from easel_worker.diffusion.size_ids import SizeIds
from easel_worker.diffusion.unet_batch import Batch, BatchInputs, Call, Padding, Slot, lay_out

_REMEMBERED_BATCHES = 4  # an alternation of that many texts is laid out once

Blend = Callable[[torch.Tensor, float], torch.Tensor]
"""(latent, sigma) -> latent with the parts put back that must not change."""

Residuals = tuple[Sequence[torch.Tensor], torch.Tensor]
"""What a ControlNet adds to the UNet: one tensor per skip connection, and one for the middle block."""


@dataclass(frozen=True)
class GuidanceOptions:
    """How prompts steer; the defaults are A1111's.

    cfg_scale: 1 follows the prompt alone, more pushes away from the negative prompt. image_cfg_scale:
    InstructPix2Pix's, None for other models; 1 is plain guidance. s_min_uncond: below this sigma every other
    call goes without the negative prompt; s_min_uncond_all: every call. skip_early_cond: the first part of
    the calls, 0 to 1, goes without. padding: see `Padding`. batch_cond_uncond: positive and negative prompt
    in one forward pass where their lengths allow.
    """

    cfg_scale: float = 7.0
    image_cfg_scale: float | None = None
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early_cond: float = 0.0
    padding: Padding = "none"
    batch_cond_uncond: bool = True


@dataclass(frozen=True, eq=False)
class UNetInput:
    """What a residual hook sees of one forward pass; tensors have one row per text and image.

    sample: the scaled latents, (rows, 4, h, w), without further channels. call: model calls before this one.
    """

    sample: torch.Tensor
    timesteps: torch.Tensor
    sigma: float
    rows: Call
    call: int


ResidualHook = Callable[[UNetInput], Residuals | None]


@dataclass(eq=False)
class GuidanceHooks:
    """What else takes part; all may be empty.

    blend_input: on the latent before the UNet sees it (timestep samplers with a mask). blend_denoised: on the
    result (all others). before_call: `hook(guidance, sigma)`, may `switch` the model. residuals: their
    results are summed.
    """

    blend_input: Blend | None = None
    blend_denoised: Blend | None = None
    before_call: list[Callable[[Guidance, float], None]] = field(default_factory=list)
    residuals: list[ResidualHook] = field(default_factory=list)


class Guidance:
    """One pass's model: `guidance(x, sigma)` is the denoised latent.

    Args:
        checkpoint: The model.
        conditioning: The prompts, one entry per image of the batch.
        options: Scales and economies.
        calls: Model calls that the pass will make, which `skip_early_cond` is a part of.
        picture: Further input channels, (1 or images, channels, h, w): mask and masked latent of an
            inpainting model, the picture's latent of InstructPix2Pix.
        size_ids: For SDXL.
        empty: The encoded empty prompt, needed for padding "empty".
        keep_uncond: Set `last_uncond` after each call, and compute the negative prediction for it where
            guidance alone would not need it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        conditioning: Conditioning,
        options: GuidanceOptions = GuidanceOptions(),
        *,
        calls: int = 1,
        picture: torch.Tensor | None = None,
        size_ids: SizeIds | None = None,
        empty: torch.Tensor | None = None,
        hooks: GuidanceHooks | None = None,
        keep_uncond: bool = False,
    ) -> None:
        self.options = options
        self.calls = calls
        self.hooks = hooks or GuidanceHooks()
        self.call = 0
        """Model calls so far; prompts that change follow it."""
        self.last_uncond: torch.Tensor | None = None
        """With `keep_uncond`: the latest prediction of the negative prompt alone, as a denoised latent. Where
        a call went without the negative prompt, that of the first positive part."""
        self._picture = picture
        self._keep_uncond = keep_uncond
        self._image_scale = 1.0 if options.image_cfg_scale is None else options.image_cfg_scale
        self._edits = self._image_scale != 1.0
        self.switch(checkpoint, conditioning, size_ids=size_ids, empty=empty)

    def switch(
        self,
        checkpoint: Checkpoint,
        conditioning: Conditioning,
        *,
        size_ids: SizeIds | None = None,
        empty: torch.Tensor | None = None,
    ) -> None:
        """Go on with another model, whose latents and noise levels are the same (a refiner)."""
        if self.options.padding == "empty" and empty is None:
            raise ValueError("padding 'empty' needs the encoded empty prompt")
        self.checkpoint = checkpoint
        self._conditioning = conditioning
        self._unet: Any = checkpoint.unet
        self._velocity = checkpoint.prediction_type == "v_prediction"
        self._inputs = BatchInputs(
            device=checkpoint.device,
            dtype=checkpoint.dtype,
            padding=self.options.padding,
            empty=empty,
            size_ids=size_ids,
            picture=self._picture,
            together=self.options.batch_cond_uncond,
        )
        self._batches: OrderedDict[tuple[Moment, bool], Batch] = OrderedDict()
        # With weights that sum to 1, guidance at scale 1 is the sum of the positive predictions.
        self._never = (
            self.options.cfg_scale == 1.0
            and not self._edits
            and not self._keep_uncond
            and all(abs(image.total_weight - 1.0) < 1e-9 for image in conditioning.images)
        )

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The model's guess at the data in `x` = data + sigma * noise; both (images, 4, h, w), float32."""
        return self._guess(x, sigma, self.options.cfg_scale)

    def pair(self, x: torch.Tensor, sigma: float, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The guess with `factor` times the guidance scale, and the one of the negative prompt alone.

        For samplers that need both (DDIM CFG++). Where a call goes without the negative prompt, the guess of
        the first positive part stands in for it.
        """
        kept, self._keep_uncond = self._keep_uncond, True
        try:
            guided = self._guess(x, sigma, self.options.cfg_scale * factor)
        finally:
            self._keep_uncond = kept
        if self.last_uncond is None:
            raise RuntimeError("no prediction of the negative prompt was kept")
        return guided, self.last_uncond

    def _guess(self, x: torch.Tensor, sigma: float, scale: float) -> torch.Tensor:
        for hook in self.hooks.before_call:
            hook(self, sigma)
        seen = x if self.hooks.blend_input is None else self.hooks.blend_input(x, sigma)
        batch = self._batch(sigma)
        output = self._predict(batch, seen, sigma)
        guided, negative = self._combine(batch, output, scale)
        denoised = self._denoised(guided, x, seen, sigma)
        if self._keep_uncond:
            self.last_uncond = self._denoised(negative, x, seen, sigma)
        if self.hooks.blend_denoised is not None:
            denoised = self.hooks.blend_denoised(denoised, sigma)
        self.call += 1
        return denoised

    def _batch(self, sigma: float) -> Batch:
        moment = self._conditioning.at(self.call)
        never = self._never and not self._keep_uncond
        negatives = not (never or self._goes_without(sigma))
        key = (moment, negatives)
        found = self._batches.get(key)
        if found is None:
            found = lay_out(moment, self._inputs, negatives=negatives, blanks=self._edits)
            self._batches[key] = found
            if len(self._batches) > _REMEMBERED_BATCHES:
                self._batches.popitem(last=False)
        return found

    def _goes_without(self, sigma: float) -> bool:
        """Whether the options leave the negative prompt out of this call."""
        options = self.options
        if self._edits:
            return False
        if options.skip_early_cond > 0 and self.call / self.calls <= options.skip_early_cond:
            return True
        return sigma < options.s_min_uncond and (options.s_min_uncond_all or self.call % 2 == 1)

    def _predict(self, batch: Batch, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The UNet's output for every row, float32."""
        # The UNet was trained on x scaled to unit variance.
        scaled = (x * (sigma**2 + 1.0) ** -0.5).to(self.checkpoint.dtype)
        timestep = self.checkpoint.sigmas.timestep(sigma)
        if len(batch.calls) == 1:
            return self._forward(batch.calls[0], scaled, timestep, sigma).float()
        output = torch.empty((batch.rows, *x.shape[1:]), dtype=torch.float32, device=x.device)
        for call in batch.calls:
            output[call.rows] = self._forward(call, scaled, timestep, sigma).float()
        return output

    def _forward(self, call: Call, scaled: torch.Tensor, timestep: float, sigma: float) -> torch.Tensor:
        sample = scaled.index_select(0, call.images)
        timesteps = torch.full((len(sample),), timestep, dtype=torch.float32, device=sample.device)
        more: dict[str, Any] = {}
        if call.added is not None:
            more["added_cond_kwargs"] = call.added
        if self.hooks.residuals:
            more |= self._residuals(UNetInput(sample, timesteps, sigma, call, self.call))
        if call.concat is not None:
            sample = torch.cat([sample, call.concat], dim=1)
        output: torch.Tensor = self._unet(sample, timesteps, call.context, return_dict=False, **more)[0]
        return output

    def _residuals(self, inputs: UNetInput) -> dict[str, Any]:
        given = [found for hook in self.hooks.residuals if (found := hook(inputs)) is not None]
        if not given:
            return {}
        down, middle = given[0]
        for other, other_middle in given[1:]:
            down = [one + two for one, two in zip(down, other, strict=True)]
            middle = middle + other_middle
        return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}

    def _combine(self, batch: Batch, output: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The guided prediction, and the negative one."""
        first = batch.slots[0]
        if batch.negative is None:
            # Without the negative prompt, the first part stands in for it, at scale 1.
            alone = output[first.rows]
            if len(batch.slots) == 1 and first.weights is None:
                return alone, alone
            return _add_parts(alone, alone, batch.slots, output, 1.0), alone
        negative = output[batch.negative]
        if batch.blank is None:
            if len(batch.slots) == 1 and first.weights is None:
                return torch.lerp(negative, output[first.rows], scale), negative
            return _add_parts(negative, negative, batch.slots, output, scale), negative
        blank = output[batch.blank]
        toward_picture = torch.lerp(blank, negative, self._image_scale)
        return _add_parts(toward_picture, negative, batch.slots, output, scale), blank

    def _denoised(
        self, output: torch.Tensor, x: torch.Tensor, seen: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        if self._velocity:  # Salimans & Ho 2022, appendix D, in variance-exploding scale
            scale = sigma**2 + 1.0
            denoised = torch.add(seen * (1.0 / scale), output, alpha=-sigma / scale**0.5)
            # The noise found in `seen` is taken out of `x`, which is what the sampler goes on with.
            return denoised if seen is x else denoised + (x - seen)
        return torch.add(x, output, alpha=-sigma)


def _add_parts(
    base: torch.Tensor, origin: torch.Tensor, slots: Sequence[Slot], output: torch.Tensor, scale: float
) -> torch.Tensor:
    """base + the sum over the parts of weight * scale * (part - origin)."""
    guided = base.clone()
    for slot in slots:
        start = origin if slot.images is None else origin[slot.images]
        push = (output[slot.rows] - start) * scale
        if slot.weights is not None:
            push = push * slot.weights
        if slot.images is None:
            guided += push
        else:  # no image twice, so the order of the sums is fixed
            guided.index_add_(0, slot.images, push)
    return guided


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


@dataclass(eq=False)
class RefinerSwitch:
    """A `before_call` hook that lets another model finish the picture, once.

    at: from which part of the way on, 0 to 1. load: what `Guidance.switch` is to be called with, asked for
    when it is time. by_steps: the way is counted in model calls (A1111's option
    refiner_switch_by_sample_steps); otherwise in training timesteps, from the last down.
    """

    at: float
    load: Callable[[], tuple[Checkpoint, Conditioning, SizeIds | None]]
    by_steps: bool = False
    done: bool = False

    def __call__(self, guidance: Guidance, sigma: float) -> None:
        if self.done or self._way(guidance, sigma) < self.at:
            return
        self.done = True
        checkpoint, conditioning, size_ids = self.load()
        guidance.switch(checkpoint, conditioning, size_ids=size_ids)

    def _way(self, guidance: Guidance, sigma: float) -> float:
        if self.by_steps:
            return guidance.call / guidance.calls
        sigmas = guidance.checkpoint.sigmas
        nearest = int(abs(sigmas.table - sigma).argmin())
        return (len(sigmas) - 1 - nearest) / len(sigmas)
