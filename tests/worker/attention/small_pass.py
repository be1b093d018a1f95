"""One model call of a pass with units, and what diffusers' own IP-Adapter code makes of the same."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPImageProcessor

from easel_worker.diffusion.attention.attach import attention_units
from easel_worker.diffusion.attention.units import Unit
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import make_conditioning
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.sampling import SamplingRun, plan_txt2img
from easel_worker.diffusion.size_ids import SizeIds, base_ids
from easel_worker.diffusion.text import TextModel

from ...small_models.ip_adapter import SIDE, clip_vision, nested

SIGMA = 3.0
CFG = 4.0


def noise(images: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn((images, 4, 8, 8), generator=torch.Generator().manual_seed(seed)) * SIGMA


def guidance(
    checkpoint: Checkpoint,
    prompts: Sequence[str] = ("a cat",),
    *,
    scale: float = CFG,
    **more: Any,
) -> Guidance:
    text = make_conditioning(TextModel(checkpoint), prompts, ["blurry"] * len(prompts), PromptSteps(10))
    return Guidance(
        checkpoint,
        text,
        GuidanceOptions(cfg_scale=scale),
        size_ids=size_ids(checkpoint),
        **more,
    )


def size_ids(checkpoint: Checkpoint) -> SizeIds | None:
    if not checkpoint.size_numbers:
        return None
    return base_ids(64, 64, crop_top=0, crop_left=0, device=checkpoint.device)


def call(
    checkpoint: Checkpoint,
    units: Sequence[Unit] = (),
    x: torch.Tensor | None = None,
    *,
    sigma: float = SIGMA,
    **more: Any,
) -> torch.Tensor:
    """The denoised latent of one call."""
    model = guidance(checkpoint, **more)
    with attention_units(model, units):
        return model(noise(len(model._conditioning)) if x is None else x, sigma)


def diffusers_call(
    checkpoint: Checkpoint,
    weights: Sequence[dict[str, torch.Tensor]],
    images: Sequence[Image.Image],
    scales: Sequence[float],
    masks: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """The same of diffusers' pipeline with `load_ip_adapter`, for the prompt "a cat"."""
    pipe: Any = StableDiffusionPipeline(
        vae=checkpoint.vae,
        text_encoder=None,
        tokenizer=None,
        unet=copy.deepcopy(checkpoint.unet),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE),
        image_encoder=clip_vision(),
        requires_safety_checker=False,
    )
    count = len(weights)
    pipe.load_ip_adapter([nested(one) for one in weights], subfolder=[""] * count, weight_name=[""] * count)
    pipe.set_ip_adapter_scale(list(scales))
    embeds = pipe.prepare_ip_adapter_image_embeds(list(images), None, checkpoint.device, 1, True)
    text = TextModel(checkpoint)
    encoded = [text.encode("blurry", negative=True), text.encode("a cat")]
    added: dict[str, Any] = {"image_embeds": embeds}
    if (ids := size_ids(checkpoint)) is not None:
        added["text_embeds"] = torch.cat([one.pooled for one in encoded if one.pooled is not None])
        added["time_ids"] = torch.cat([ids.negative, ids.positive])
    x = noise()
    scaled = (x / (SIGMA**2 + 1) ** 0.5).expand(2, -1, -1, -1)
    output = pipe.unet(
        scaled,
        torch.tensor([checkpoint.sigmas.timestep(SIGMA)]),
        torch.cat([one.context for one in encoded]),
        added_cond_kwargs=added,
        cross_attention_kwargs=None if masks is None else {"ip_adapter_masks": masks},
        return_dict=False,
    )[0]
    return x - SIGMA * torch.lerp(*output.chunk(2), CFG)


def picture(
    checkpoint: Checkpoint,
    prompt: str,
    units: Sequence[Unit] = (),
    *,
    seed: int = 0,
    steps: int = 8,
    side: int = 128,
    scale: float = 5.0,
) -> NDArray[np.uint8]:
    """txt2img with units, without a queue: RGB (side, side, 3)."""
    text = make_conditioning(TextModel(checkpoint), [prompt], [""], PromptSteps(steps))
    model = Guidance(checkpoint, text, GuidanceOptions(cfg_scale=scale))
    source = NoiseSource([seed], (4, side // 8, side // 8), device=checkpoint.device)
    plan = plan_txt2img("Euler", "automatic", steps, model=checkpoint.sigmas)
    run = SamplingRun(plan, model, source, step_done=model.step_done)
    with attention_units(model, units):
        latent = run.solve(run.start(None), lambda done, of: None)
    drawn: NDArray[np.uint8] = decode(checkpoint, latent)[0]
    return drawn
