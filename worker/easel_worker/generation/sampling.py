"""One pass through a sampler: from noise, or from a picture's latent, to a latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch

from easel_contract.options import RenderOptions
from easel_worker.diffusion.encode import LATENT_FACTOR
from easel_worker.diffusion.guidance import Guidance, Side
from easel_worker.diffusion.noise import NoiseSource, Variation
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.sampling import SamplingRun
from easel_worker.generation.job import Job, Picture
from easel_worker.generation.studio import Shown, Watch
from easel_worker.imaging.resize import Size

_SHARED = [item.name for item in fields(SamplerOptions) if item.name in RenderOptions.model_fields]
"""What the options of a task and those of a sampler both have, by the same names."""


class _CutShortError(Exception):
    """The batch ends here; never leaves this module."""


def noise_for(
    job: Job, batch: Sequence[Picture], size: Size, *, channels: int, device: torch.device
) -> NoiseSource:
    """Fresh random streams of a batch's pictures, for a picture of `size` in pixels."""
    resize = job.seed_resize_from
    shape = _latent_shape(size, channels)
    return NoiseSource(
        [picture.seed for picture in batch],
        shape,
        rng=job.options.randn_source,
        device=device,
        variation=Variation(
            subseeds=tuple(picture.subseed for picture in batch),
            subseed_strength=job.subseed_strength,
            seed_resize_from=_latent_shape(resize, channels) if resize else None,
            eta_noise_seed_delta=job.options.eta_noise_seed_delta,
        ),
    )


def run_pass(run: SamplingRun, x: torch.Tensor, watch: Watch, shown: Shown) -> torch.Tensor:
    """Sample from `x`, which `run.start` made; what is cut short comes out as far as it got. `shown`: what a
    preview shows at a step."""
    watch.pass_begins(run.plan.steps)

    def on_step(done: int, steps: int) -> None:
        watch.step(done, steps, shown)
        if watch.cut_short and done < steps:
            raise _CutShortError

    try:
        return run.solve(x, on_step)
    except _CutShortError:
        return x if run.newest_denoised is None else run.newest_denoised


def shown_of(run: SamplingRun, guidance: Guidance, content: str) -> Shown:
    """What previews show of a run, by the option `live_preview_content`: by the prompt or the negative prompt
    alone, or by both, as the picture will be."""
    if content == "Combined":
        return lambda: run.newest_denoised
    side: Side = "negative" if content == "Negative prompt" else "positive"
    return lambda: guidance.alone(side)


def sampler_options(options: RenderOptions, *, noise_multiplier: float | None = None) -> SamplerOptions:
    """What the options say about sampling. `noise_multiplier` is a request's own, instead of the option."""
    values = {name: getattr(options, name) for name in _SHARED}
    if noise_multiplier is not None:
        values["initial_noise_multiplier"] = noise_multiplier
    return SamplerOptions(**values)


def _latent_shape(size: Size, channels: int) -> tuple[int, int, int]:
    width, height = size
    return channels, height // LATENT_FACTOR, width // LATENT_FACTOR
