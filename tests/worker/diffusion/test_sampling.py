"""Plans: which levels are visited, and how the latent enters and leaves them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.samplers.registry import SAMPLERS
from easel_worker.diffusion.sampling import (
    SamplerOptions,
    SamplingPlan,
    SamplingRun,
    model_levels,
    plan_img2img,
    plan_txt2img,
)
from easel_worker.diffusion.schedules import SCHEDULES, schedule
from easel_worker.diffusion.sigmas import model_sigmas

CPU = torch.device("cpu")
SD15 = model_sigmas({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
K_SAMPLERS = [name for name, spec in SAMPLERS.items() if not spec.unit_variance]
OWN_STEPS = [name for name, spec in SAMPLERS.items() if spec.unit_variance]


def txt2img(sampler: str, steps: int, scheduler: str = "automatic", **options: Any) -> SamplingPlan:
    return plan_txt2img(sampler, scheduler, steps, model=SD15, options=SamplerOptions(**options))


def img2img(
    sampler: str,
    steps: int,
    strength: float,
    scheduler: str = "automatic",
    *,
    fixed: bool = False,
    **options: Any,
) -> SamplingPlan:
    return plan_img2img(
        *(sampler, scheduler, steps, strength),
        model=SD15,
        options=SamplerOptions(**options),
        fixed_steps=fixed,
    )


def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return 0.9 * x / (1 + sigma**2)


def begin(plan: SamplingPlan, seeds: tuple[int, ...] = (3,)) -> SamplingRun:
    noise = NoiseSource(seeds, (4, 8, 8), device=CPU)
    return SamplingRun(plan, denoise, noise, denoise_pair=lambda x, sigma, factor: (denoise(x, sigma),) * 2)


def unit_noise(seed: int = 3) -> torch.Tensor:
    return NoiseSource((seed,), (4, 8, 8), device=CPU)()


@pytest.mark.parametrize(
    ("steps", "strength", "made"), [(20, 0.75, 16), (20, 0.5, 11), (20, 1.0, 20), (30, 0.4, 13), (20, 0.0, 1)]
)
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DPM2", "DPM++ 3M SDE", "Restart", "LCM"])
def test_image_to_image_makes_the_end_of_the_schedule(
    sampler: str, steps: int, strength: float, made: int
) -> None:
    plan = img2img(sampler, steps, strength)
    assert plan.steps == made
    assert plan.levels == txt2img(sampler, steps).levels[-made - 1 :]
    assert plan.noise_sigma == plan.levels[0]


@pytest.mark.parametrize("strength", [0.1, 0.33, 0.75, 1.0])
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DPM2"])
def test_fixed_steps_are_those_that_run(sampler: str, strength: float) -> None:
    assert img2img(sampler, 20, strength, fixed=True).steps == 20
    assert img2img(sampler, 20, strength, img2img_fix_steps=True).steps == 20


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_second_pass_of_strength_0_leaves_the_latent(sampler: str) -> None:
    run = begin(img2img(sampler, 20, 0.0, fixed=True, img2img_extra_noise=0.5))
    latent = unit_noise(8)
    told: list[int] = []
    assert torch.equal(run.solve(run.start(latent), lambda done, steps: told.append(done)), latent)
    assert told == []
    assert run.plan.steps == 0


@pytest.mark.parametrize(("steps", "strength", "made"), [(20, 0.75, 14), (20, 0.5, 9), (30, 0.4, 11)])
@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS"])
def test_samplers_on_own_timesteps_begin_below_their_noise(
    sampler: str, steps: int, strength: float, made: int
) -> None:
    plan = img2img(sampler, steps, strength)
    assert plan.steps == made
    whole = txt2img(sampler, steps).levels
    assert plan.levels == whole[-made - 1 :]
    assert plan.noise_sigma == whole[-made - 2]


def test_ddims_levels() -> None:
    timesteps = np.arange(951.0, 0.0, -50.0)
    np.testing.assert_allclose(txt2img("DDIM", 20).levels, SD15.at(timesteps))
    assert [txt2img("PLMS", steps).steps for steps in (20, 30, 50)] == [19, 30, 49]


def test_unipcs_levels() -> None:
    even = txt2img("UniPC", 20)
    np.testing.assert_allclose(even.levels, SD15.at(np.linspace(999, 0, 21)))
    # 1000 // 30 is 33, which goes 31 times into 1000.
    assert txt2img("UniPC", 30).steps == 31
    log = txt2img("UniPC", 20, uni_pc_skip_type="logSNR")
    np.testing.assert_allclose(log.levels, np.geomspace(SD15.largest, SD15.smallest, 21))
    square = txt2img("UniPC", 20, uni_pc_skip_type="time_quadratic")
    assert (square.levels[0], square.levels[-1]) == (
        pytest.approx(SD15.largest),
        pytest.approx(SD15.smallest),
    )
    middle = ((1 + 0.001**0.5) / 2) ** 2 * 1000 - 1
    assert square.levels[10] == pytest.approx(float(SD15.at(np.array([middle]))[0]))
    cut = img2img("UniPC", 20, 0.5)
    np.testing.assert_allclose(cut.levels, SD15.at(np.linspace(451, 0, 11)))


@pytest.mark.parametrize("sampler", ["DPM2", "DPM2 a", "DPM++ 3M SDE"])
def test_some_samplers_leave_the_next_to_last_level_out(sampler: str) -> None:
    longer = schedule("karras", SD15, 11)
    expected = [*longer[:-2], 0.0]
    assert txt2img(sampler, 10, "karras").levels == pytest.approx(expected)
    # The option changes nothing for them, and does the same for others.
    option = {"always_discard_next_to_last_sigma": True}
    assert txt2img(sampler, 10, "karras", **option).levels == pytest.approx(expected)
    assert txt2img("Euler", 10, "karras", **option).levels == pytest.approx(expected)
    assert txt2img("Euler", 10, "karras").levels == pytest.approx(schedule("karras", SD15, 10))


@pytest.mark.parametrize("name", K_SAMPLERS)
def test_automatic_is_the_samplers_own_schedule(name: str) -> None:
    own = {"DPM++ 2M": "karras", "DPM++ SDE": "karras", "DPM++ 2M SDE": "exponential"}
    own |= {"DPM++ 2M SDE Heun": "exponential", "DPM++ 2S a": "karras", "DPM++ 3M SDE": "exponential"}
    own |= {"DPM2": "karras", "DPM2 a": "karras", "Restart": "karras"}
    assert txt2img(name, 12).levels == txt2img(name, 12, own.get(name, "uniform")).levels


@pytest.mark.parametrize("name", OWN_STEPS)
def test_samplers_on_own_timesteps_ignore_the_scheduler(name: str) -> None:
    assert txt2img(name, 12, "karras").levels == txt2img(name, 12).levels


@pytest.mark.parametrize("steps", [1, 3, 4, 21, 40])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_plan_knows_how_many_steps_its_sampler_will_tell_of(sampler: str, steps: int) -> None:
    for plan in (txt2img(sampler, steps), img2img(sampler, steps, 0.6), img2img(sampler, steps, 0.0)):
        told: list[tuple[int, int]] = []
        run = begin(plan)
        run.solve(run.start(), lambda done, of, told=told: told.append((done, of)))  # type: ignore[misc]
        if sampler == "DPM adaptive" and plan.steps:
            assert plan.steps_made is None
        else:
            assert told == [(done + 1, plan.steps_made) for done in range(plan.steps_made or 0)]


def test_schedule_options_reach_the_schedule() -> None:
    set_ends = txt2img("Euler", 5, "karras", sigma_min=0.1, sigma_max=10.0, rho=5.0).levels
    assert (set_ends[0], set_ends[-2]) == (pytest.approx(10.0), pytest.approx(0.1))
    old = txt2img("Euler", 5, "karras", use_old_karras_scheduler_sigmas=True).levels
    assert (old[0], old[-2]) == (pytest.approx(10.0), pytest.approx(0.1))
    assert old != set_ends
    beta = txt2img("Euler", 5, "beta", beta_dist_alpha=0.9, beta_dist_beta=0.4).levels
    assert beta != txt2img("Euler", 5, "beta").levels


def test_lcm_visits_the_levels_of_a_consistency_model() -> None:
    levels = txt2img("LCM", 50).levels
    np.testing.assert_allclose(levels[:-1], SD15.table[19::20][::-1])
    assert txt2img("LCM", 4).levels[0] == pytest.approx(SD15.largest)


@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive"])
def test_open_samplers_go_from_end_to_end(name: str) -> None:
    plan = txt2img(name, 10, "karras")
    assert (plan.levels[0], plan.levels[-1]) == (pytest.approx(SD15.largest), pytest.approx(SD15.smallest))
    cut = img2img(name, 10, 0.5, "karras")
    whole = schedule("karras", SD15, 10)
    assert (cut.levels[0], cut.levels[-1]) == (pytest.approx(whole[4]), pytest.approx(whole[-2]))


@pytest.mark.parametrize("scheduler", ["automatic", "karras", "kl_optimal", "ddim", "simple", "beta"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_survives_few_steps(sampler: str, steps: int, scheduler: str) -> None:
    run = begin(txt2img(sampler, steps, scheduler))
    assert run.plan.steps >= 1
    assert torch.isfinite(run.solve(run.start(), lambda done, steps: None)).all()
    for strength in (0.0, 0.4, 1.0):
        for fixed in (False, True):
            cut = begin(img2img(sampler, steps, strength, scheduler, fixed=fixed))
            assert torch.isfinite(cut.solve(cut.start(unit_noise(8)), lambda done, steps: None)).all()


@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_a_tiny_strength_of_a_second_pass_is_no_trouble(scheduler: str) -> None:
    plan = img2img("Euler", 20, 1e-9, scheduler, fixed=True)
    assert 1 <= plan.steps <= 20
    assert plan.levels[0] < 0.2
    assert (np.diff(plan.levels) < 0).all()


@pytest.mark.parametrize("sampler", K_SAMPLERS)
def test_a_picture_starts_from_noise_at_the_first_level(sampler: str) -> None:
    run = begin(txt2img(sampler, 8))
    torch.testing.assert_close(run.start(), unit_noise() * run.plan.levels[0])
    wide = begin(txt2img(sampler, 8, sgm_noise_multiplier=True))
    torch.testing.assert_close(wide.start(), unit_noise() * (1 + wide.plan.levels[0] ** 2) ** 0.5)


@pytest.mark.parametrize("sampler", OWN_STEPS)
def test_on_own_timesteps_the_latent_is_of_unit_variance(sampler: str) -> None:
    plan = txt2img(sampler, 8)
    scale = (1 + plan.levels[0] ** 2) ** 0.5
    torch.testing.assert_close(begin(plan).start() / scale, unit_noise())
    assert plan.finish_scale == pytest.approx((1 + plan.levels[-1] ** 2) ** -0.5)


@pytest.mark.parametrize("sampler", ["Euler", "DPM fast", "LCM"])
def test_an_image_starts_with_noise_at_the_first_level(sampler: str) -> None:
    image = unit_noise(8)
    run = begin(img2img(sampler, 20, 0.6))
    torch.testing.assert_close(run.start(image), image + unit_noise() * run.plan.levels[0])
    options = {"initial_noise_multiplier": 0.5, "img2img_extra_noise": 0.25}
    noisier = begin(img2img(sampler, 20, 0.6, **options))
    expected = image + 0.5 * unit_noise() * (noisier.plan.levels[0] + 0.25)
    torch.testing.assert_close(noisier.start(image), expected)


def test_on_own_timesteps_an_image_starts_with_noise_of_the_timestep_above() -> None:
    """sqrt(alpha) * image + sqrt(1 - alpha) * noise at timestep 501, where sampling goes on from 451."""
    image = unit_noise(8)
    run = begin(img2img("DDIM", 20, 0.5, img2img_extra_noise=0.25))
    above, first = (float(SD15.table[timestep]) for timestep in (501, 451))
    alpha = 1 / (1 + above**2)
    mixed = alpha**0.5 * (image + 0.25 * unit_noise()) + (1 - alpha) ** 0.5 * unit_noise()
    torch.testing.assert_close(run.start(image), mixed * (1 + first**2) ** 0.5)


def test_a_noise_that_was_drawn_before_can_be_given() -> None:
    plan = txt2img("Euler a", 5)
    noise = NoiseSource((3,), (4, 8, 8), device=CPU)
    first = noise()
    given, plain = SamplingRun(plan, denoise, noise), begin(plan)
    start = given.start(first_noise=first)
    torch.testing.assert_close(start, plain.start())
    ends = [run.solve(start, lambda done, steps: None) for run in (given, plain)]
    assert torch.equal(*ends)


def test_brownian_paths_span_the_schedule_before_it_is_cut() -> None:
    whole, cut = txt2img("DPM++ SDE", 20), img2img("DPM++ SDE", 20, 0.5)
    assert whole.brownian_range == cut.brownian_range
    assert whole.brownian_range == pytest.approx((SD15.smallest, SD15.largest))


def test_without_batch_determinism_sde_samplers_draw_independent_noise() -> None:
    ends = []
    for off in (False, True):
        run = begin(txt2img("DPM++ 2M SDE", 6, no_dpmpp_sde_batch_determinism=off))
        ends.append(run.solve(run.start(), lambda done, steps: None))
    assert (ends[0] - ends[1]).abs().max() > 0.01


def test_eta_is_the_requests_or_the_option_of_the_samplers_kind() -> None:
    assert (txt2img("Euler a", 5).eta, txt2img("DDIM", 5).eta) == (1.0, 0.0)
    options = {"eta_ancestral": 0.5, "eta_ddim": 0.25}
    assert (txt2img("Euler a", 5, **options).eta, txt2img("DDIM CFG++", 5, **options).eta) == (0.5, 0.25)
    assert (txt2img("Euler a", 5, eta=0.0, **options).eta, txt2img("DDIM", 5, eta=1.0).eta) == (0.0, 1.0)


def test_zero_terminal_snr_is_an_option() -> None:
    options = SamplerOptions(sd_noise_schedule="Zero Terminal SNR")
    assert model_levels(SD15, SamplerOptions()) is SD15
    model = model_levels(SD15, options)
    for sampler in SAMPLERS:
        plan = plan_txt2img(sampler, "automatic", 6, model=model, options=options)
        run = begin(plan)
        assert torch.isfinite(run.solve(run.start(), lambda done, steps: None)).all(), sampler
    assert plan_txt2img("Euler", "automatic", 6, model=model).levels[0] == pytest.approx(4518.76, abs=0.01)


def test_second_order_samplers_count_twice() -> None:
    twice = [name for name in SAMPLERS if txt2img(name, 5).calls_per_step == 2]
    assert twice == ["DPM++ SDE", "DPM++ 2S a", "Heun", "DPM2", "DPM2 a", "Restart"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "Eul"}, "sampler: 'Eul' is unknown"),
        ({"scheduler": "slow"}, "scheduler: 'slow' is unknown"),
        ({"steps": 0}, "steps: 0 should be 1 or more"),
        ({"strength": 1.5}, "denoising_strength: 1.5 should be from 0 to 1"),
        ({"strength": float("nan")}, "denoising_strength: nan should be from 0 to 1"),
        ({"sigma_max": 0.01, "scheduler": "karras"}, "sigma_min: 0.0291672 should be below sigma_max, 0.01"),
    ],
)
def test_what_cannot_be_sampled_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        img2img(**{"sampler": "Euler", "steps": 5, "strength": 0.5, **fields})
