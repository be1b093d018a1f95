"""Text to image: the whole way from a job to pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import make_conditioning
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.samplers.solver import OnStep
from easel_worker.diffusion.sampling import AUTOMATIC, SamplingRun, plan_txt2img
from easel_worker.diffusion.text import TextModel, TextOptions

# The VAE's factor between a picture's sides and its latent's.
LATENT_FACTOR = 8


@dataclass(frozen=True)
class Txt2ImgJob:
    """What to draw; one image per seed.

    width, height: pixels, rounded down to multiples of 8. sampler: a display name ("DPM++ 2M"). scheduler: a
    name ("karras") or "automatic". eta: None takes the sampler's own. clip_skip: 1 is the text encoder's last
    layer. rng: "NV" (an NVIDIA GPU's stream) or "CPU" (torch's). cfg_scale 1 draws without guidance, in half
    the time.
    """

    prompt: str
    negative_prompt: str = ""
    seeds: tuple[int, ...] = (0,)
    steps: int = 20
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    sampler: str = "Euler"
    scheduler: str = AUTOMATIC
    eta: float | None = None
    clip_skip: int = 1
    rng: str = "NV"

    def __post_init__(self) -> None:
        if not self.seeds:
            raise JobError("seeds: at least one is needed, one per image")
        if self.steps < 1:
            raise JobError(f"steps: {self.steps} should be 1 or more")
        for field, side in (("width", self.width), ("height", self.height)):
            if side < LATENT_FACTOR:
                raise JobError(f"{field}: {side} should be {LATENT_FACTOR} or more")
        if not np.isfinite(self.cfg_scale):
            raise JobError(f"cfg_scale: {self.cfg_scale} should be a finite number")

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """One image's latent: channels, height, width."""
        return 4, self.height // LATENT_FACTOR, self.width // LATENT_FACTOR


@torch.inference_mode()
def txt2img(checkpoint: Checkpoint, job: Txt2ImgJob, *, on_step: OnStep) -> NDArray[np.uint8]:
    """Draw a job: RGB pictures, (len(seeds), height, width, 3).

    `on_step(done, steps)` is called after every sampler step, from this thread; whatever it raises stops the
    job and comes out of here. `steps` is the number of steps that really run, which for DDIM differs from the
    job's.

    Image i of a batch is the picture of a single job with that seed. Raises `JobError` for what cannot be
    drawn and `NanError` for an overflow; running out of memory comes out as torch raises it (see
    `memory.is_out_of_memory`).
    """
    options = SamplerOptions(eta=job.eta)
    plan = plan_txt2img(job.sampler, job.scheduler, job.steps, model=checkpoint.sigmas, options=options)
    text = TextModel(checkpoint, TextOptions(clip_skip=job.clip_skip))
    prompt_steps = PromptSteps(job.steps * plan.calls_per_step)
    batches = [(seed,) for seed in job.seeds] if plan.one_image else [job.seeds]
    pictures = []
    for seeds in batches:
        images = len(seeds)
        noise = NoiseSource(seeds, job.latent_shape, rng=job.rng, device=checkpoint.device)
        conditioning = make_conditioning(
            text, [job.prompt] * images, [job.negative_prompt] * images, prompt_steps
        )
        guidance = Guidance(checkpoint, conditioning, GuidanceOptions(cfg_scale=job.cfg_scale))
        run = SamplingRun(plan, guidance, noise, denoise_pair=guidance.pair)
        pictures.append(decode(checkpoint, run.solve(run.start(), on_step)))
    return np.concatenate(pictures)
