"""Hooks asked by hand, and whole passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import Conditioning, make_conditioning
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.guidance_hooks import GuidanceHooks, ResidualHook, Residuals, UNetInput
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.sampling import SamplingRun, plan_txt2img
from easel_worker.diffusion.size_ids import base_ids
from easel_worker.diffusion.text import Encoded, TextModel
from easel_worker.diffusion.unet_batch import Call, RowKind

CPU = torch.device("cpu")
SIDE = 64
"""Pixels of the pictures."""
CLOSE: dict[str, Any] = {"atol": 2e-3, "rtol": 1e-3}
"""For residuals, whose values reach 10, of the same row in batches of other sizes, where convolutions may be
added up in another order. What the tests tell apart differs by far more."""
BOTH: tuple[RowKind, ...] = ("positive", "negative")


def picture(seed: int = 0, images: int = 1, width: int = SIDE, height: int = SIDE) -> torch.Tensor:
    """A hint of noise."""
    return torch.rand((images, 3, height, width), generator=torch.Generator().manual_seed(seed))


def unet_input(
    checkpoint: Checkpoint,
    kinds: Sequence[RowKind] = BOTH,
    *,
    images: Sequence[int] | None = None,
    progress: float = 0.0,
    side: int = SIDE // 8,
) -> UNetInput:
    """One forward pass with random rows. images: of each row; the first for all where none are given."""
    generator = torch.Generator().manual_seed(5)
    places = torch.tensor([0] * len(kinds) if images is None else list(images))
    latents = torch.randn((int(places.max()) + 1, 4, side, side), generator=generator)
    config = checkpoint.unet.config
    context = torch.randn((len(kinds), 77, config.cross_attention_dim), generator=generator)
    added = None
    if checkpoint.size_numbers:
        told = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        ids = base_ids(8 * side, 8 * side, device=CPU).positive
        pooled = torch.randn((len(kinds), told), generator=generator)
        added = {"text_embeds": pooled, "time_ids": ids.repeat(len(kinds), 1)}
    call = Call(rows=None, images=places, context=context, added=added, concat=None, kinds=tuple(kinds))
    timesteps = torch.full((len(kinds),), 500.0)
    return UNetInput(latents[places], timesteps, 1.0, call, 0, progress, checkpoint)


def ask(hook: ResidualHook, inputs: UNetInput) -> list[torch.Tensor]:
    """A hook's residuals in one row, the middle one last; none where it does not act."""
    found = hook(inputs)
    return [] if found is None else flat(found)


def flat(residuals: Residuals) -> list[torch.Tensor]:
    middle = [] if residuals.middle is None else [residuals.middle]
    return [*residuals.down, *middle, *residuals.within]


def encode(checkpoint: Checkpoint, prompt: str) -> Encoded:
    return TextModel(checkpoint).encode(prompt)


def prompts(checkpoint: Checkpoint, *positive: str, negative: str = "blurry", steps: int = 4) -> Conditioning:
    return make_conditioning(TextModel(checkpoint), positive, [negative] * len(positive), PromptSteps(steps))


def sample(
    checkpoint: Checkpoint,
    *hooks: ResidualHook,
    prompt: Sequence[str] = ("a cat",),
    steps: int = 4,
    sampler: str = "Euler",
    width: int = SIDE,
    height: int = SIDE,
    before_call: Callable[[Guidance, float], None] | None = None,
    picture: torch.Tensor | None = None,
    **options: Any,
) -> torch.Tensor:
    """The latents of a pass with these hooks, seeds 0, 1, ..."""
    plan = plan_txt2img(sampler, "automatic", steps, model=checkpoint.sigmas)
    guidance = Guidance(
        checkpoint,
        prompts(checkpoint, *prompt, steps=steps * plan.calls_per_step),
        GuidanceOptions(**{"cfg_scale": 4.0, **options}),
        calls=plan.steps * plan.calls_per_step,
        size_ids=base_ids(width, height, device=CPU) if checkpoint.size_numbers else None,
        picture=picture,
        hooks=GuidanceHooks(residuals=list(hooks), before_call=[] if before_call is None else [before_call]),
    )
    noise = NoiseSource(list(range(len(prompt))), (4, height // 8, width // 8), device=CPU)
    run = SamplingRun(plan, guidance, noise, denoise_pair=guidance.pair, step_done=guidance.step_done)
    return run.solve(run.start(), lambda done, steps: None)
