"""Samplers against diffusers' schedulers: the same picture of the shipped model, from the same noise.

Both sides use our denoiser and our VAE, so that what differs is the sampler. Prompts, guidance and the way
through a whole pipeline are compared in test_txt2img.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray

import easel_shapes
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.conditioning import make_conditioning
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.samplers.registry import SAMPLERS
from easel_worker.diffusion.samplers.solver import Denoise, Solver, solve
from easel_worker.diffusion.sampling import SamplingRun, plan_txt2img
from easel_worker.diffusion.schedules import schedule
from easel_worker.diffusion.text import TextModel

# diffusers converts a tensor in a way that numpy 2 calls deprecated; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
CPU = torch.device("cpu")
SEED = 11
SHAPE = (4, 16, 16)
STEPS = 12
LARGEST = 2
"""Levels of 255 by which any pixel may differ: rounding of float32, and of the picture to whole levels."""


@pytest.fixture(scope="module")
def shapes() -> Checkpoint:
    folder = Path(easel_shapes.__file__).parent / "model"
    return load_checkpoint(folder, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def denoise(shapes: Checkpoint) -> Guidance:
    with torch.inference_mode():
        conditioning = make_conditioning(
            TextModel(shapes), ["a red circle on a blue background"], [""], PromptSteps(1000)
        )
    return Guidance(shapes, conditioning, GuidanceOptions(cfg_scale=5.0))


def source() -> NoiseSource:
    return NoiseSource((SEED,), SHAPE, rng="CPU", device=CPU)


def ours(name: str, denoise: Denoise, levels: list[float], *, eta: float = 1.0) -> torch.Tensor:
    """The latent after the sampler's way down `levels`, from its own noise at the first."""
    noise = source()
    first = (1 + levels[0] ** 2) ** 0.5 if SAMPLERS[name].unit_variance else levels[0]
    solver = Solver(denoise, levels, noise, eta=eta, options=SamplerOptions())
    with torch.inference_mode():
        end = solve(SAMPLERS[name].sampler, solver, noise() * first, lambda done, steps: None)
    return end * (1 + levels[-1] ** 2) ** -0.5 if SAMPLERS[name].unit_variance else end


def theirs(
    scheduler: Any, denoise: Denoise, levels: list[float], *, unit_variance: bool, steps: int | None = None
) -> torch.Tensor:
    """Drive a diffusers scheduler with our denoiser. `levels` has the sigma of each of its model calls;
    `unit_variance`: it keeps latents in DDPM's scale.
    """
    generator = torch.Generator("cpu").manual_seed(SEED)
    x = torch.randn((1, *SHAPE), generator=generator)
    if not unit_variance:
        x = x * levels[0]
    takes_generator = isinstance(scheduler, EulerAncestralDiscreteScheduler | LCMScheduler)
    options = {"generator": generator} if takes_generator else {}
    with torch.inference_mode():
        for timestep, sigma in list(zip(scheduler.timesteps, levels, strict=False))[:steps]:
            latent = x * (1 + sigma**2) ** 0.5 if unit_variance else x
            epsilon = (latent - denoise(latent, sigma)) / sigma
            x = scheduler.step(epsilon, timestep, x, return_dict=False, **options)[0]
    return x


def assert_same_picture(one: torch.Tensor, other: torch.Tensor, shapes: Checkpoint) -> None:
    pictures: list[NDArray[np.uint8]] = []
    with torch.inference_mode():
        pictures = [decode(shapes, latent) for latent in (one, other)]
    assert pictures[0].shape == (1, 128, 128, 3)
    assert pictures[0].std() > 30  # a picture, not grey
    assert int(np.abs(pictures[0].astype(int) - pictures[1].astype(int)).max()) <= LARGEST


@pytest.mark.parametrize(
    ("name", "kind", "options", "unit_variance"),
    [
        ("Euler", EulerDiscreteScheduler, {"use_karras_sigmas": True}, False),
        ("Euler", EulerDiscreteScheduler, {"timestep_spacing": "linspace"}, False),
        ("Euler a", EulerAncestralDiscreteScheduler, {"timestep_spacing": "linspace"}, False),
        ("Heun", HeunDiscreteScheduler, {"use_karras_sigmas": True}, False),
        ("LMS", LMSDiscreteScheduler, {"timestep_spacing": "linspace"}, False),
        ("LMS", LMSDiscreteScheduler, {"use_karras_sigmas": True}, False),
        (
            "DPM++ 2M",
            DPMSolverMultistepScheduler,
            {"use_karras_sigmas": True, "final_sigmas_type": "zero", "lower_order_final": True},
            True,
        ),
        (
            "UniPC",
            UniPCMultistepScheduler,
            {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
            True,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_picture_is_that_of_the_diffusers_scheduler(
    name: str,
    kind: Any,
    options: dict[str, Any],
    unit_variance: bool,
    denoise: Guidance,
    shapes: Checkpoint,
) -> None:
    scheduler = kind(**BETAS, **options)
    scheduler.set_timesteps(STEPS)
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    # Heun's table holds every level twice, once for each of its model calls.
    levels = sigmas if name != "Heun" else [sigmas[0], *sigmas[1::2]]
    expected = theirs(scheduler, denoise, sigmas, unit_variance=unit_variance)
    got = ours(name, denoise, levels)
    if unit_variance and not SAMPLERS[name].unit_variance:
        # diffusers starts it from unit variance, k-diffusion from noise * sigma.
        x = source()() * (1 + levels[0] ** 2) ** 0.5
        solver = Solver(denoise, levels, source())
        with torch.inference_mode():
            got = solve(SAMPLERS[name].sampler, solver, x, lambda done, steps: None)
    assert_same_picture(got, expected, shapes)


def test_dpm2_is_kdpm2(denoise: Guidance, shapes: Checkpoint) -> None:
    scheduler = KDPM2DiscreteScheduler(**BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(STEPS)
    levels = [float(sigma) for sigma in schedule("karras", shapes.sigmas, STEPS)]
    calls = [levels[0]]
    for sigma, target in zip(levels[:-2], levels[1:-1], strict=True):
        calls += [(sigma * target) ** 0.5, target]
    expected = theirs(scheduler, denoise, calls, unit_variance=False)
    assert_same_picture(ours("DPM2", denoise, levels), expected, shapes)


@pytest.mark.parametrize("name", ["DDIM", "PLMS"])
def test_samplers_on_own_timesteps(name: str, denoise: Guidance, shapes: Checkpoint) -> None:
    spacing: dict[str, Any] = {"steps_offset": 1, "timestep_spacing": "leading", "set_alpha_to_one": False}
    scheduler: Any
    if name == "DDIM":
        scheduler = DDIMScheduler(**BETAS, clip_sample=False, **spacing)
    else:
        scheduler = PNDMScheduler(**BETAS, skip_prk_steps=True, **spacing)
    scheduler.set_timesteps(20)
    plan = plan_txt2img(name, "automatic", 20, model=shapes.sigmas)
    sigmas = [float(sigma) for sigma in shapes.sigmas.at(scheduler.timesteps.numpy().astype(float))]
    # A1111's loop stops at the smallest timestep, one step before diffusers'. PLMS calls twice at first.
    expected = theirs(
        scheduler, denoise, sigmas, unit_variance=True, steps=plan.steps + (1 if name == "PLMS" else 0)
    )
    noise = source()
    run = SamplingRun(plan, denoise, noise)
    with torch.inference_mode():
        got = run.solve(run.start(), lambda done, steps: None)
    assert plan.steps == 19
    assert_same_picture(got, expected, shapes)


def test_lcm(denoise: Guidance, shapes: Checkpoint) -> None:
    scheduler = LCMScheduler(**BETAS, clip_sample=False)
    scheduler.set_timesteps(8)
    levels = [float(sigma) for sigma in shapes.sigmas.at(scheduler.timesteps.numpy().astype(float))]
    expected = theirs(scheduler, denoise, levels, unit_variance=True)
    noise = source()
    solver = Solver(denoise, [*levels, 0.0], noise)
    start = noise() * (1 + levels[0] ** 2) ** 0.5
    with torch.inference_mode():
        got = solve(SAMPLERS["LCM"].sampler, solver, start, lambda done, steps: None)
    # diffusers keeps x * alpha + noise * sqrt(1 - alpha^2) instead of x + noise * sigma: the same but for scale.
    assert_same_picture(got, expected, shapes)


def test_samplers_without_noise_converge_to_the_same_picture(denoise: Guidance, shapes: Checkpoint) -> None:
    """50 steps of the same ordinary equation: whoever solves it in second order or better ends together."""
    levels = [float(sigma) for sigma in schedule("karras", shapes.sigmas, 50)][:-1]
    names = ("Heun", "DPM2", "DPM++ 2M", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE", "UniPC")
    ends = {name: ours(name, denoise, levels, eta=0.0) for name in (*names, "LMS", "DPM fast")}
    for name, end in ends.items():
        scale = (1 + levels[0] ** 2) ** 0.5 if SAMPLERS[name].unit_variance else 1.0
        assert torch.isfinite(end).all(), (name, scale)
    reference = ends["Heun"]
    far = float((ours("Euler", denoise, levels) - reference).std() / reference.std())
    apart = {name: float((end - reference).std() / reference.std()) for name, end in ends.items()}
    print(far, apart)
