"""Samplers against the reference implementation, exact solutions, and each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from easel_worker.diffusion.errors import JobError, NanError
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.samplers.heun import restart_steps
from easel_worker.diffusion.samplers.lms import lms_weights
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.samplers.registry import SAMPLERS, find_sampler
from easel_worker.diffusion.samplers.solver import Solver, ancestral_levels, solve

CPU = torch.device("cpu")
LOW, HIGH = 0.0291672, 14.6146412
# Karras' schedule, 7 steps and 0.
LEVELS = [
    float(sigma)
    for sigma in (HIGH ** (1 / 7) + np.linspace(0, 1, 7) * (LOW ** (1 / 7) - HIGH ** (1 / 7))) ** 7
] + [0.0]
OPEN = ("DPM fast", "DPM adaptive")
"""They choose their own levels between the first and the last, which is not 0."""
CHURN = {"s_churn": 4.0, "s_tmin": 0.2, "s_tmax": 5.0, "s_noise": 1.05}


def bent(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """A denoiser that is neither linear nor trained."""
    return 0.7 * torch.tanh(1.3 * x / (1 + sigma**2) ** 0.5) + 0.3 * x / (1 + sigma**2)


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact denoiser of data that is standard normal; its trajectories are x0 * sqrt(1 + sigma^2)."""
    return x / (1 + sigma**2)


def levels_for(name: str) -> list[float]:
    if name in OPEN:
        return [float(sigma) for sigma in np.geomspace(HIGH, LOW, 8)]
    return LEVELS[:-1] if find_sampler(name).unit_variance else LEVELS


def run(
    name: str,
    denoise: Callable[[torch.Tensor, float], torch.Tensor],
    sigmas: list[float],
    *,
    seeds: tuple[int, ...] = (5,),
    eta: float = 1.0,
    start: torch.Tensor | None = None,
    **options: Any,
) -> torch.Tensor:
    """The final latent. DDIM CFG++ gets `denoise` for the unconditional prediction too."""
    noise = NoiseSource(seeds, (4, 8, 8), rng="CPU", device=CPU)
    solver = Solver(
        denoise,
        sigmas,
        noise,
        brownian=noise.brownian(LOW, HIGH),
        denoise_pair=lambda x, sigma, factor: (denoise(x, sigma), denoise(x, sigma)),
        eta=eta,
        options=SamplerOptions(**options),
    )
    x = noise() * sigmas[0] if start is None else start
    return solve(SAMPLERS[name].sampler, solver, x, lambda done, steps: None)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    # The first four values that k-diffusion 0.1.1 gives for the same denoiser, levels and noise (torch's CPU
    # generator, seed 5; torchsde 0.2.6 for the Brownian ones), with eta 1.
    [
        ("DPM++ 2M", {}, [0.9586, 0.801, -0.9499, -0.9491]),
        ("DPM++ SDE", {}, [-0.7821, 0.6745, -0.8026, 0.7289]),
        ("DPM++ SDE", {"s_noise": 1.05}, [-0.7908, 0.6738, -0.8044, 0.7484]),
        ("DPM++ 2M SDE", {}, [-0.767, 0.812, -0.9269, 0.8543]),
        ("DPM++ 2M SDE", {"s_noise": 1.05}, [-0.8025, 0.8135, -0.9328, 0.8635]),
        ("DPM++ 2M SDE Heun", {}, [-0.9517, 0.8572, -0.9992, 0.9406]),
        ("DPM++ 2M SDE Heun", {"s_noise": 1.05}, [-0.9786, 0.8571, -1.0048, 0.9426]),
        ("DPM++ 2S a", {}, [0.8072, -0.8504, -0.8687, -0.5725]),
        ("DPM++ 2S a", {"s_noise": 1.05}, [0.8103, -0.8558, -0.8726, -0.5625]),
        ("DPM++ 3M SDE", {}, [-1.2308, 0.8623, -0.8318, 0.7592]),
        ("DPM++ 3M SDE", {"s_noise": 1.05}, [-1.2338, 0.8479, -0.8168, 0.7493]),
        ("Euler a", {}, [0.7862, -0.8689, -0.9048, -0.3999]),
        ("Euler a", {"s_noise": 1.05}, [0.7916, -0.8775, -0.9109, -0.3881]),
        ("Euler", {}, [0.9539, 0.7397, -0.9434, -0.9425]),
        ("Euler", CHURN, [0.8887, -0.8419, -0.9806, -0.6584]),
        ("LMS", {}, [0.9379, 0.761, -0.929, -0.9282]),
        ("Heun", {}, [0.8689, 0.7799, -0.8636, -0.8632]),
        ("Heun", CHURN, [0.837, -0.8215, -0.8723, -0.7776]),
        ("DPM2", {}, [0.9087, 0.7819, -0.9014, -0.9008]),
        ("DPM2", CHURN, [0.8739, -0.8478, -0.9315, -0.7719]),
        ("DPM2 a", {}, [0.7517, -0.7604, -0.7507, -0.7443]),
        ("DPM2 a", {"s_noise": 1.05}, [0.7515, -0.7603, -0.7504, -0.7426]),
        ("DPM fast", {}, [0.6804, -0.2061, -0.334, -0.5822]),
        ("DPM fast", {"s_noise": 1.05}, [0.6889, -0.2467, -0.3252, -0.5306]),
        ("DPM adaptive", {}, [0.6809, -0.8731, -0.8899, 0.7453]),
        ("DPM adaptive", {"s_noise": 1.05}, [0.6748, -0.8782, -0.8935, 0.7577]),
    ],
    ids=str,
)
def test_equals_the_reference_implementation(
    name: str, options: dict[str, float], expected: list[float]
) -> None:
    got = run(name, bent, levels_for(name), **options)
    np.testing.assert_allclose(got.flatten()[:4].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "order"),
    # LMS, PLMS, UniPC and 3M SDE are of higher order in between, but their first and last steps are not.
    [
        *(("Euler", 1), ("Euler a", 1), ("DDIM", 1), ("DDIM CFG++", 1)),
        *(("Heun", 2), ("DPM2", 2), ("DPM2 a", 2), ("DPM++ 2M", 2), ("DPM++ 2S a", 2), ("DPM++ SDE", 2)),
        *(("DPM++ 2M SDE", 2), ("DPM++ 2M SDE Heun", 2), ("DPM++ 3M SDE", 2)),
        *(("LMS", 2), ("UniPC", 2), ("DPM fast", 2)),
    ],
)
def test_halving_the_step_shrinks_the_error_as_the_order_says(name: str, order: int) -> None:
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)

    def error(steps: int) -> float:
        sigmas = [float(sigma) for sigma in np.geomspace(8.0, 0.5, steps + 1)]
        exact = math.sqrt((1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2))
        end = run(name, gaussian, sigmas, start=x, eta=0.0)
        return abs(end.flatten()[0].item() - exact)

    assert math.log2(error(40) / error(80)) > order - 0.15


@pytest.mark.parametrize("name", ["Euler a", "DPM2 a", "DPM++ 2S a", "DDIM"])
def test_eta_0_is_the_sampler_without_noise(name: str) -> None:
    plain = {"Euler a": "Euler", "DPM2 a": "DPM2", "DDIM": "Euler", "DPM++ 2S a": None}[name]
    levels = levels_for(name)
    quiet = run(name, bent, levels, eta=0.0)
    if plain is not None:
        torch.testing.assert_close(quiet, run(plain, bent, levels), atol=1e-5, rtol=1e-5)
    assert (run(name, bent, levels, eta=0.5) - quiet).abs().max() > 0.01
    assert torch.equal(run(name, bent, levels, eta=0.0, s_noise=2.0), quiet)


def test_without_noise_2m_sde_is_2m() -> None:
    quiet = run("DPM++ 2M SDE", bent, LEVELS, eta=0.0)
    torch.testing.assert_close(quiet, run("DPM++ 2M", bent, LEVELS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2S a", "DPM2 a", "DDIM", "DPM++ SDE", "DPM++ 2M SDE"])
def test_noise_keeps_the_variance_of_a_gaussian(name: str) -> None:
    """With the exact denoiser, what is standard normal at the end has that variance whatever was added."""
    sigmas = [float(sigma) for sigma in np.geomspace(10.0, 0.03, 100)]
    noise = NoiseSource((1,), (4, 48, 48), device=CPU)
    solver = Solver(gaussian, sigmas, noise, brownian=noise.brownian(0.03, 10.0), eta=1.0)
    start = noise() * math.sqrt(1 + sigmas[0] ** 2)
    final = solve(SAMPLERS[name].sampler, solver, start, lambda done, steps: None)
    assert float(final.std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_is_limited_to_its_levels(name: str) -> None:
    plain = run(name, bent, LEVELS)
    assert (run(name, bent, LEVELS, s_churn=5.0) - plain).abs().max() > 0.01
    assert torch.equal(run(name, bent, LEVELS, s_churn=5.0, s_tmin=20.0), plain)
    assert torch.equal(run(name, bent, LEVELS, s_churn=5.0, s_tmax=1e-3), plain)
    # 0 is no upper limit, and so is infinity.
    unlimited = run(name, bent, LEVELS, s_churn=5.0, s_tmax=0.0)
    assert torch.equal(run(name, bent, LEVELS, s_churn=5.0, s_tmax=math.inf), unlimited)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "DPM adaptive"])
def test_an_image_of_a_batch_is_that_of_its_seed_alone(name: str) -> None:
    batch = run(name, bent, levels_for(name), seeds=(5, 6, 7), s_churn=3.0)
    for i, seed in enumerate((5, 6, 7)):
        alone = run(name, bent, levels_for(name), seeds=(seed,), s_churn=3.0)
        torch.testing.assert_close(batch[i], alone[0], atol=1e-5, rtol=1e-5)


def test_only_dpm_adaptive_asks_for_one_image_at_a_time() -> None:
    assert [name for name, spec in SAMPLERS.items() if spec.one_image] == ["DPM adaptive"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_told_and_counted(name: str) -> None:
    told: list[tuple[int, int]] = []
    noise = NoiseSource((5,), (4, 8, 8), device=CPU)
    levels = levels_for(name)
    solver = Solver(bent, levels, noise, denoise_pair=lambda x, sigma, factor: (bent(x, sigma),) * 2)
    start = noise() * levels[0]
    solve(SAMPLERS[name].sampler, solver, start, lambda done, steps: told.append((done, steps)))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert all(done <= steps for done, steps in told)
    assert told[-1][0] == told[-1][1]
    if name not in OPEN:
        assert len(told) == len(levels) - 1
    calls = {"DPM fast": 7, "DPM adaptive": 3 * len(told), "PLMS": len(told) + 1}
    second = SAMPLERS[name].calls_per_step == 2
    # A last step down to 0 has no second call.
    assert solver.calls == calls.get(name, 2 * len(told) - 1 if second else len(told))


def test_an_estimate_of_the_adaptive_steps_gets_better() -> None:
    told: list[tuple[int, int]] = []
    noise = NoiseSource((5,), (4, 8, 8), device=CPU)
    solver = Solver(bent, [HIGH, LOW], noise)
    start = noise() * HIGH
    solve(SAMPLERS["DPM adaptive"].sampler, solver, start, lambda done, steps: told.append((done, steps)))
    parts = [done / steps for done, steps in told]
    halfway = told[len(told) // 2]
    assert 0.2 < halfway[0] / halfway[1] < 0.8
    assert parts[-1] == 1.0


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_stop_leaves_the_newest_guess(name: str) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, steps: int) -> None:
        if done == 2:
            raise StopError

    noise = NoiseSource((5,), (4, 8, 8), device=CPU)
    levels = levels_for(name)
    solver = Solver(bent, levels, noise, denoise_pair=lambda x, sigma, factor: (bent(x, sigma),) * 2)
    assert solver.newest_denoised is None
    with pytest.raises(StopError):
        solve(SAMPLERS[name].sampler, solver, noise() * levels[0], stop)
    guess = solver.newest_denoised
    assert guess is not None
    assert guess.shape == (1, 4, 8, 8)
    assert float(guess.abs().max()) < 5.0


def test_numbers_that_overflow_end_dpm_adaptive() -> None:
    with pytest.raises(NanError, match="DPM adaptive"):
        run("DPM adaptive", lambda x, sigma: x * math.nan, [HIGH, LOW])


def test_cfg_plus_plus_goes_back_along_the_unconditional_prediction() -> None:
    factors = []

    def pair(x: torch.Tensor, sigma: float, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        factors.append(factor)
        return bent(x, sigma), gaussian(x, sigma)

    noise = NoiseSource((5,), (4, 8, 8), device=CPU)
    solver = Solver(bent, [4.0, 1.0], noise, denoise_pair=pair, eta=0.0)
    x = 4.0 * noise()
    end = solve(SAMPLERS["DDIM CFG++"].sampler, solver, x, lambda done, steps: None)
    direction = (x - gaussian(x, 4.0)) / 4.0
    torch.testing.assert_close(end, bent(x, 4.0) + 1.0 * direction)
    assert factors == [1 / 12.5]


def test_cfg_plus_plus_without_a_pair_is_an_error() -> None:
    noise = NoiseSource((5,), (4, 8, 8), device=CPU)
    with pytest.raises(TypeError, match="denoise_pair"):
        solve(SAMPLERS["DDIM CFG++"].sampler, Solver(bent, [4.0, 1.0], noise), noise(), lambda d, s: None)


def test_lcm_is_new_noise_on_the_guess() -> None:
    noise = NoiseSource((5,), (4, 8, 8), device=CPU)
    solver = Solver(bent, [4.0, 1.0, 0.0], noise)
    x, second = 4.0 * noise(), NoiseSource((5,), (4, 8, 8), device=CPU)
    second()
    end = solve(SAMPLERS["LCM"].sampler, solver, x, lambda done, steps: None)
    torch.testing.assert_close(end, bent(bent(x, 4.0) + second(), 1.0))


@pytest.mark.parametrize(("steps", "climbs"), [(1, 0), (19, 0), (20, 1), (35, 1), (36, 2), (50, 2), (150, 2)])
def test_restart_makes_the_steps_asked_for(steps: int, climbs: int) -> None:
    sigmas = [float(sigma) for sigma in np.geomspace(HIGH, LOW, steps)] + [0.0]
    plan = restart_steps(sigmas)
    assert len(plan) == steps
    assert (plan[0][0], plan[-1][1]) == (pytest.approx(HIGH), 0.0)
    assert all(target < sigma for sigma, target in plan)
    jumps = [(one[1], other[0]) for one, other in pairwise(plan) if other[0] != one[1]]
    assert len(jumps) == climbs
    for low, high in jumps:
        assert low == pytest.approx(0.1, rel=0.5)
        assert high == pytest.approx(2.0, rel=0.5)


@pytest.mark.parametrize("variant", ["bh1", "bh2", "vary_coeff"])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_unipcs_options(variant: str, final: bool, order: int) -> None:
    sigmas = [float(sigma) for sigma in np.geomspace(8.0, 0.5, 61)]
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    end = run(
        *("UniPC", gaussian, sigmas),
        start=x,
        uni_pc_variant=variant,
        uni_pc_order=order,
        uni_pc_lower_order_final=final,
    )
    exact = math.sqrt((1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2))
    assert end.flatten()[0].item() == pytest.approx(exact, rel=1e-3)


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


def test_an_unknown_sampler_is_named() -> None:
    with pytest.raises(JobError, match=r"sampler: 'Euler b' is unknown, use one of DPM\+\+ 2M"):
        find_sampler("Euler b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("eta", 1.5), ("eta_ddim", -0.1), ("s_churn", -1.0), ("s_noise", math.nan), ("s_tmin", math.inf)),
        *(("beta_dist_alpha", 0.0), ("uni_pc_order", 0), ("uni_pc_variant", "bh3"), ("rho", -1.0)),
        *(("uni_pc_skip_type", "even"), ("sd_noise_schedule", "zero"), ("img2img_extra_noise", -0.5)),
    ],
)
def test_options_out_of_range_are_named(field: str, value: object) -> None:
    with pytest.raises(JobError, match=f"^{field}: "):
        SamplerOptions(**{field: value})  # type: ignore[arg-type]
