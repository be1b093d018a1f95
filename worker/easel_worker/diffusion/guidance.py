"""The model as samplers want it: a noisy latent and its sigma in, the denoised latent out.

Around the UNet: classifier-free guidance (Ho & Salimans 2022), also with several prompts (Liu et al. 2022,
"Compositional Visual Generation with Composable Diffusion Models") and with a picture (InstructPix2Pix,
Brooks et al. 2023); prompts that change; masks; further input channels; a second model that takes over; and
what ControlNets add.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import Conditioning, Moment
from easel_worker.diffusion.guidance_hooks import GuidanceHooks, UNetInput
from easel_worker.diffusion.size_ids import SizeIds
from easel_worker.diffusion.unet_batch import Batch, BatchInputs, Call, Padding, Slot, lay_out

_REMEMBERED_BATCHES = 4  # an alternation of that many texts is laid out once


Side = Literal["positive", "negative"]


@dataclass(frozen=True, eq=False)
class _Asked:
    """One model call, as `_ask` made it."""

    batch: Batch
    output: torch.Tensor
    x: torch.Tensor
    seen: torch.Tensor
    sigma: float


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
    ) -> None:
        self.options = options
        self.calls = calls
        self.hooks = hooks or GuidanceHooks()
        self.call = 0
        """Model calls so far; prompts that change follow it."""
        self.progress = 0.0
        """The part of the sampler's steps that are done; see `step_done`."""
        self._newest: _Asked | None = None
        self._image_scale = 1.0 if options.image_cfg_scale is None else options.image_cfg_scale
        self._edits = self._image_scale != 1.0
        self.switch(checkpoint, conditioning, size_ids=size_ids, empty=empty, picture=picture)

    def switch(
        self,
        checkpoint: Checkpoint,
        conditioning: Conditioning,
        *,
        size_ids: SizeIds | None = None,
        empty: torch.Tensor | None = None,
        picture: torch.Tensor | None = None,
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
            picture=picture,
            together=self.options.batch_cond_uncond,
        )
        self._batches: OrderedDict[tuple[Moment, bool], Batch] = OrderedDict()
        # With weights that sum to 1, guidance at scale 1 is the sum of the positive predictions.
        self._never = (
            self.options.cfg_scale == 1.0
            and not self._edits
            and all(abs(image.total_weight - 1.0) < 1e-9 for image in conditioning.images)
        )

    def step_done(self, done: int, steps: int) -> None:
        """Tell how far the sampler is, after each of its steps: what acts for a part of the way is told."""
        self.progress = done / steps

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The model's guess at the data in `x` = data + sigma * noise; both (images, 4, h, w), float32."""
        batch, output, seen = self._ask(x, sigma, both=False)
        guided, _ = self._combine(batch, output, self.options.cfg_scale)
        return self._finish(guided, x, seen, sigma)

    def pair(self, x: torch.Tensor, sigma: float, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The guess with `factor` times the guidance scale, and the one for the negative prompt alone.

        For samplers that go back along the latter (CFG++). In calls that the options let go without the
        negative prompt, the first part of the positive one stands in for it.
        """
        batch, output, seen = self._ask(x, sigma, both=True)
        guided, negative = self._combine(batch, output, self.options.cfg_scale * factor)
        return self._finish(guided, x, seen, sigma), self._denoised(negative, x, seen, sigma)

    def alone(self, side: Side) -> torch.Tensor | None:
        """What the newest call guessed for each image by one side of the guidance alone, (images, 4, h, w);
        for previews. Of several prompts the first counts; in a call without the negative prompt, that stands
        in for it. None before the first call."""
        newest = self._newest
        if newest is None:
            return None
        rows = newest.batch.slots[0].rows
        if side == "negative" and newest.batch.negative is not None:
            rows = newest.batch.negative
        return self._denoised(newest.output[rows], newest.x, newest.seen, newest.sigma)

    def _ask(self, x: torch.Tensor, sigma: float, *, both: bool) -> tuple[Batch, torch.Tensor, torch.Tensor]:
        """One model call: its layout, the UNet's output for every row, and the latent that it saw.

        `both`: the negative prompt is wanted for itself, not only for the guidance.
        """
        for hook in self.hooks.before_call:
            hook(self, sigma)
        seen = x if self.hooks.blend_input is None else self.hooks.blend_input(x, sigma)
        negatives = (both or not self._never) and not self._goes_without(sigma)
        batch = self._batch(negatives=negatives)
        output = self._predict(batch, seen, sigma)
        self.call += 1
        self._newest = _Asked(batch, output, x, seen, sigma)
        return batch, output, seen

    def _finish(
        self, output: torch.Tensor, x: torch.Tensor, seen: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        denoised = self._denoised(output, x, seen, sigma)
        return denoised if self.hooks.blend_denoised is None else self.hooks.blend_denoised(denoised, sigma)

    def _batch(self, *, negatives: bool) -> Batch:
        moment = self._conditioning.at(self.call)
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
        added = {} if call.added is None else {"added_cond_kwargs": call.added}

        def forward(sample: torch.Tensor, concat: torch.Tensor | None, **residuals: Any) -> torch.Tensor:
            if concat is not None:
                sample = torch.cat([sample, concat], dim=1)
            output: torch.Tensor = self._unet(
                sample, timesteps, call.context, return_dict=False, **added, **residuals
            )[0]
            return output

        residuals: dict[str, Any] = {}
        if self.hooks.residuals or self.hooks.before_forward:
            inputs = UNetInput(sample, timesteps, sigma, call, self.call, self.progress, self.checkpoint)
            residuals = self._residuals(inputs)
            for hook in self.hooks.before_forward:
                hook(inputs, forward)
        return forward(sample, call.concat, **residuals)

    def _residuals(self, inputs: UNetInput) -> dict[str, Any]:
        given = [found for hook in self.hooks.residuals if (found := hook(inputs)) is not None]
        more: dict[str, Any] = {}
        if middles := [(found.middle,) for found in given if found.middle is not None]:
            more["mid_block_additional_residual"] = _summed(middles)[0]
            more["down_block_additional_residuals"] = _summed([found.down for found in given if found.down])
        if within := [found.within for found in given if found.within]:
            # A list of its own: the UNet takes from it.
            more["down_intrablock_additional_residuals"] = list(_summed(within))
        return more

    def _combine(self, batch: Batch, output: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The prediction guided at `scale`, and the negative one."""
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


def _summed(given: Sequence[Sequence[torch.Tensor]]) -> Sequence[torch.Tensor]:
    """Place by place."""
    total = given[0]
    for other in given[1:]:
        total = [one + two for one, two in zip(total, other, strict=True)]
    return total


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
