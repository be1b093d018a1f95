"""Samplers against diffusers' schedulers, against exact solutions, and against each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import make_conditioning
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.samplers.euler import ancestral_levels
from easel_worker.diffusion.samplers.lms import lms_weights
from easel_worker.diffusion.samplers.registry import SAMPLERS, find_sampler
from easel_worker.diffusion.samplers.solver import Denoise, Solver, solve
from easel_worker.diffusion.text import TextModel

# diffusers converts a tensor in a way that numpy 2 calls deprecated; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
# Of the final latent, whose values are about 1: the accumulated rounding of fp32 model calls.
TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def denoise(checkpoint: Checkpoint) -> Denoise:
    with torch.inference_mode():
        conditioning = make_conditioning(
            TextModel(checkpoint), ["a photo of a cat"], ["blurry"], PromptSteps(1000)
        )
    return Guidance(checkpoint, conditioning, GuidanceOptions(cfg_scale=3.0))


@pytest.fixture(scope="module")
def unit_noise() -> torch.Tensor:
    return NoiseSource((11,), (4, 8, 8), device=torch.device("cpu"))()


def run(
    name: str,
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: list[float],
    *,
    eta: float = 0.0,
    noise: Callable[[], torch.Tensor] | None = None,
) -> torch.Tensor:
    solver = Solver(denoise=denoise, sigmas=sigmas, noise=noise or (lambda: torch.randn_like(x)), eta=eta)
    with torch.inference_mode():
        return solve(SAMPLERS[name].sampler, solver, x, lambda step, steps: None)


def run_scheduler(
    scheduler: Any, denoise: Denoise, x: torch.Tensor, *, sigmas: list[float], scaled: bool
) -> torch.Tensor:
    """Drive a diffusers scheduler with our denoiser. `scaled`: it keeps latents at unit variance (DDPM's
    scale).
    """

    def scale(sigma: float) -> float:
        return (1 + sigma**2) ** -0.5 if scaled else 1.0

    x = x * scale(sigmas[0])
    with torch.inference_mode():
        for timestep, sigma in zip(scheduler.timesteps, sigmas, strict=False):
            latent = x / scale(sigma)
            epsilon = (latent - denoise(latent, sigma)) / sigma
            x = scheduler.step(epsilon, timestep, x, return_dict=False)[0]
    return x


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize(
    ("name", "kind", "options", "scaled"),
    [
        ("Euler", EulerDiscreteScheduler, {"use_karras_sigmas": True}, False),
        ("Euler", EulerDiscreteScheduler, {"timestep_spacing": "linspace"}, False),
        ("Heun", HeunDiscreteScheduler, {"use_karras_sigmas": True}, False),
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
)
def test_equals_the_diffusers_scheduler_on_its_levels(
    name: str, kind: Any, options: dict[str, Any], scaled: bool, denoise: Denoise, unit_noise: torch.Tensor
) -> None:
    scheduler = kind(**BETAS, **options)
    scheduler.set_timesteps(12)
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    x = unit_noise * sigmas[0]
    expected = run_scheduler(scheduler, denoise, x, sigmas=sigmas, scaled=scaled)
    # Heun's table holds every level twice, once for each of its model calls.
    levels = sigmas if name != "Heun" else [sigmas[0], *sigmas[1::2]]
    got = run(name, denoise, x, levels)
    if scaled:
        got = got * (1 + levels[-1] ** 2) ** -0.5
    assert largest_difference(got, expected) < TOLERANCE * float(expected.abs().max())


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_equals_diffusers_on_the_same_timesteps(
    eta: float, denoise: Denoise, unit_noise: torch.Tensor, checkpoint: Checkpoint
) -> None:
    scheduler = DDIMScheduler(
        **BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading"
    )
    scheduler.set_timesteps(20)
    spec = find_sampler("DDIM")
    levels = [float(sigma) for sigma in spec.levels(checkpoint.sigmas, 20, "automatic")]
    noise = NoiseSource((4,), (4, 8, 8), device=torch.device("cpu"))
    same_noise = NoiseSource((4,), (4, 8, 8), device=torch.device("cpu"))

    x = unit_noise
    with torch.inference_mode():
        # A1111's loop stops at the smallest timestep, one step before diffusers' does.
        for timestep, sigma in zip(scheduler.timesteps[:-1], levels, strict=False):
            latent = x * (1 + sigma**2) ** 0.5
            epsilon = (latent - denoise(latent, sigma)) / sigma
            x = scheduler.step(epsilon, timestep, x, eta=eta, variance_noise=noise(), return_dict=False)[0]

    start = unit_noise * (1 + levels[0] ** 2) ** 0.5
    got = run("DDIM", denoise, start, levels, eta=eta, noise=same_noise) * (1 + levels[-1] ** 2) ** -0.5
    assert len(levels) - 1 == 19
    assert largest_difference(got, x) < TOLERANCE * float(x.abs().max())


def test_second_order_samplers_and_unipc_converge_to_the_same_latent(
    denoise: Denoise, unit_noise: torch.Tensor, checkpoint: Checkpoint
) -> None:
    levels = [float(sigma) for sigma in find_sampler("UniPC").levels(checkpoint.sigmas, 60, "automatic")]
    x = unit_noise * levels[0]
    results = {name: run(name, denoise, x, levels) for name in ("Heun", "UniPC", "DPM++ 2M", "LMS")}
    scale = float(results["Heun"].std())
    for name in ("UniPC", "DPM++ 2M", "LMS"):
        assert float((results[name] - results["Heun"]).std()) < 0.05 * scale, name


def gaussian_denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact denoiser of data that is standard normal; its trajectories are x0 * sqrt(1 + sigma^2)."""
    return x / (1 + sigma**2)


@pytest.mark.parametrize(
    ("name", "order"),
    # LMS and UniPC are of higher order in between, but their first and last steps are not.
    [("Euler", 1), ("DDIM", 1), ("Heun", 2), ("DPM++ 2M", 2), ("LMS", 2), ("UniPC", 2)],
)
def test_halving_the_step_shrinks_the_error_as_the_order_says(name: str, order: int) -> None:
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)

    def error(steps: int) -> float:
        sigmas = [float(sigma) for sigma in np.geomspace(8.0, 0.5, steps + 1)]
        exact = math.sqrt((1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2))
        return abs(run(name, gaussian_denoise, x, sigmas).item() - exact)

    assert math.log2(error(40) / error(80)) > order - 0.15


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_survives_few_steps(
    name: str, steps: int, denoise: Denoise, unit_noise: torch.Tensor, checkpoint: Checkpoint
) -> None:
    spec = find_sampler(name)
    levels = [float(sigma) for sigma in spec.levels(checkpoint.sigmas, steps, "automatic")]
    assert torch.isfinite(run(name, denoise, unit_noise * levels[0], levels, eta=spec.eta)).all()


def test_lms_weights_integrate_cubics_exactly() -> None:
    sigmas = [9.0, 5.5, 3.0, 2.2, 0.7]

    def slope(sigma: float) -> float:
        return 2 * sigma**3 - sigma**2 + 4 * sigma - 3

    def area(sigma: float) -> float:
        return sigma**4 / 2 - sigma**3 / 3 + 2 * sigma**2 - 3 * sigma

    weights = lms_weights(sigmas, 3, 4)
    got = sum(weight * slope(sigmas[3 - j]) for j, weight in enumerate(weights))
    assert got == pytest.approx(area(0.7) - area(2.2), rel=1e-12)
    assert lms_weights(sigmas, 0, 1) == pytest.approx([5.5 - 9.0])


def test_ancestral_levels() -> None:
    assert ancestral_levels(10.0, 5.0, 0.0) == (5.0, 0.0)
    down, up = ancestral_levels(10.0, 5.0, 1.0)
    assert down**2 + up**2 == pytest.approx(25.0)
    assert up == pytest.approx(5.0 * math.sqrt(0.75))
    assert ancestral_levels(10.0, 0.0, 1.0) == (0.0, 0.0)


def test_euler_a_keeps_the_variance_of_a_gaussian() -> None:
    """With the exact denoiser, what is standard normal at the end has that variance whatever noise was
    added.
    """
    sigmas = [float(sigma) for sigma in np.geomspace(10.0, 0.01, 200)] + [0.0]
    source = NoiseSource((1,), (4, 64, 64), device=torch.device("cpu"))
    x = source() * math.sqrt(1 + sigmas[0] ** 2)
    final = run("Euler a", gaussian_denoise, x, sigmas, eta=1.0, noise=source)
    assert float(final.std()) == pytest.approx(1.0, abs=0.05)


def test_default_schedulers_and_names() -> None:
    assert {name: spec.scheduler for name, spec in SAMPLERS.items() if not spec.own_levels} == {
        "DPM++ 2M": "karras",
        "Euler a": "uniform",
        "Euler": "uniform",
        "LMS": "uniform",
        "Heun": "uniform",
    }
    with pytest.raises(JobError, match="sampler: 'Euler b' is unknown, use one of DPM"):
        find_sampler("Euler b")
