"""Noise levels against the published vectors: SD 1.5's betas, 10 steps."""

from __future__ import annotations

import numpy as np
import pytest

from easel_worker.diffusion.beta_distribution import beta_quantiles
from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.sampling import model_levels
from easel_worker.diffusion.schedules import SCHEDULES, ScheduleOptions, ddim_timesteps, schedule
from easel_worker.diffusion.sigmas import ModelSigmas, model_sigmas

SD15 = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
UNIFORM = [14.6146, 7.8399, 4.6092, 2.9183, 1.9502, 1.3449, 0.9324, 0.6250, 0.3687, 0.0292, 0]
EXPONENTIAL = [14.6146, 7.3249, 3.6712, 1.8400, 0.9222, 0.4622, 0.2317, 0.1161, 0.0582, 0.0292, 0]
VECTORS = {
    "uniform": UNIFORM,
    "normal": UNIFORM,
    "karras": [14.6146, 9.1029, 5.4784, 3.1686, 1.7494, 0.9141, 0.4469, 0.2014, 0.0819, 0.0292, 0],
    "exponential": EXPONENTIAL,
    "polyexponential": EXPONENTIAL,
    "sgm_uniform": [14.6146, 8.3072, 5.0924, 3.3251, 2.2797, 1.6156, 1.1629, 0.8319, 0.5712, 0.3437, 0],
    "kl_optimal": [14.6146, 4.5650, 2.6329, 1.7864, 1.2948, 0.9616, 0.7116, 0.5094, 0.3356, 0.1783, 0.0292],
    "align_your_steps": [14.615, 6.1135, 3.5651, 2.3939, 1.6500, 1.1358, 0.7425, 0.4450, 0.1692, 0.0290, 0],
    "simple": [14.6146, 8.3028, 5.0878, 3.3211, 2.2765, 1.6129, 1.1606, 0.8299, 0.5693, 0.3417, 0],
    "ddim": [8.3907, 5.1344, 3.3478, 2.2929, 1.6237, 1.1682, 0.8357, 0.5741, 0.3462, 0.0413, 0],
    "beta": [14.6146, 13.9278, 12.491, 10.5976, 8.4424, 6.2014, 4.0462, 2.1528, 0.7160, 0.0292, 0],
}


@pytest.fixture(scope="module")
def sd15() -> ModelSigmas:
    return model_sigmas(SD15)


def test_the_models_range(sd15: ModelSigmas) -> None:
    assert len(sd15) == 1000
    assert sd15.smallest == pytest.approx(0.0291672, abs=1e-6)
    assert sd15.largest == pytest.approx(14.6146412, abs=1e-5)


def test_every_schedule_has_a_vector() -> None:
    assert VECTORS.keys() == SCHEDULES.keys()


@pytest.mark.parametrize("name", VECTORS)
def test_schedule(name: str, sd15: ModelSigmas) -> None:
    np.testing.assert_allclose(schedule(name, sd15, 10), VECTORS[name], atol=5e-4)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30, 150])
def test_schedules_descend_for_any_number_of_steps(name: str, steps: int, sd15: ModelSigmas) -> None:
    sigmas = schedule(name, sd15, steps)
    assert len(sigmas) > steps or name == "ddim"
    assert (np.diff(sigmas) < 0).all()
    assert sigmas[-1] >= 0


@pytest.mark.parametrize("name", VECTORS)
def test_more_levels_than_the_model_has_never_rise(name: str, sd15: ModelSigmas) -> None:
    assert (np.diff(schedule(name, sd15, 2500)) <= 0).all()


def test_align_your_steps_of_sdxl(sd15: ModelSigmas) -> None:
    table = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]
    got = schedule("align_your_steps", sd15, 11, ScheduleOptions(sdxl=True))
    np.testing.assert_allclose(got, [*table, 0])


@pytest.mark.parametrize(
    "name", ["karras", "exponential", "polyexponential", "sgm_uniform", "kl_optimal", "normal", "beta"]
)
def test_the_ends_can_be_set(name: str, sd15: ModelSigmas) -> None:
    levels = schedule(name, sd15, 10, ScheduleOptions(sigma_min=0.1, sigma_max=5.0))
    assert levels[0] == pytest.approx(5.0)
    lowest = levels[levels > 0][-1]
    assert lowest > 0.1 if name == "sgm_uniform" else lowest == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["uniform", "align_your_steps", "simple", "ddim"])
def test_schedules_of_fixed_levels_have_no_ends_to_set(name: str, sd15: ModelSigmas) -> None:
    other = schedule(name, sd15, 10, ScheduleOptions(sigma_min=0.1, sigma_max=5.0, rho=3.0))
    np.testing.assert_array_equal(other, schedule(name, sd15, 10))


def test_rho(sd15: ModelSigmas) -> None:
    low, high = sd15.smallest, sd15.largest
    third = schedule("karras", sd15, 3, ScheduleOptions(rho=3.0))
    assert third[1] == pytest.approx(((low ** (1 / 3) + high ** (1 / 3)) / 2) ** 3)
    quadratic = schedule("polyexponential", sd15, 3, ScheduleOptions(rho=2.0))
    assert quadratic[1] == pytest.approx(low * (high / low) ** 0.25)


def test_ends_in_the_wrong_order_are_named(sd15: ModelSigmas) -> None:
    with pytest.raises(JobError, match=r"sigma_min: 20 should be below sigma_max, 14\.6146"):
        schedule("karras", sd15, 10, ScheduleOptions(sigma_min=20.0))


@pytest.mark.parametrize(
    ("a", "b", "expected"),  # scipy 1.17's beta.ppf
    [
        (0.6, 0.6, [0.0, 0.0008612388215, 0.1756803786527, 0.5, 0.9604155944112, 1.0]),
        (0.3, 0.9, [0.0, 2.49123875632595e-07, 0.01137193014832, 0.11368779477972, 0.7512769118885, 1.0]),
        (2.0, 5.0, [0.0, 0.0267631911428, 0.1611629167903, 0.2644499832957, 0.5103163065515, 1.0]),
        (1.0, 1.0, [0.0, 0.01, 0.25, 0.5, 0.9, 1.0]),
    ],
)
def test_quantiles_of_the_beta_distribution(a: float, b: float, expected: list[float]) -> None:
    got = beta_quantiles(np.array([0.0, 0.01, 0.25, 0.5, 0.9, 1.0]), a, b)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_the_beta_schedules_parameters(sd15: ModelSigmas) -> None:
    even = schedule("beta", sd15, 5, ScheduleOptions(beta_dist_alpha=1.0, beta_dist_beta=1.0))
    np.testing.assert_allclose(even[:-1], np.linspace(sd15.largest, sd15.smallest, 5))


def test_an_unknown_schedule_is_named(sd15: ModelSigmas) -> None:
    with pytest.raises(JobError, match="scheduler: 'linear' is unknown, use one of uniform, karras"):
        schedule("linear", sd15, 10)


@pytest.mark.parametrize("timestep", [0.0, 0.25, 500.0, 731.9, 999.0])
def test_timesteps_come_back_from_their_sigma(timestep: float, sd15: ModelSigmas) -> None:
    sigma = float(sd15.at(np.array([timestep]))[0])
    assert sd15.timestep(sigma) == pytest.approx(timestep, abs=1e-6)


def test_sigmas_outside_the_range_take_the_nearest_timestep(sd15: ModelSigmas) -> None:
    assert sd15.timestep(100.0) == 999
    assert sd15.timestep(0.001) == 0


def test_ddim_timesteps() -> None:
    assert ddim_timesteps(1000, 20).tolist() == list(range(1, 1000, 50))
    assert len(ddim_timesteps(1000, 30)) == 31
    assert ddim_timesteps(1000, 30)[-1] == 991
    assert ddim_timesteps(1000, 1).tolist() == [1]
    assert ddim_timesteps(1000, 5000)[-1] == 999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_schedule": "cosine"}, "beta_schedule 'cosine' is unknown"),
        ({"beta_start": None}, "beta_start and beta_end must be numbers"),
        ({"beta_end": 1.5}, "0 < beta_start <= beta_end < 1"),
    ],
)
def test_configurations_that_give_no_sigmas(change: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        model_sigmas({**SD15, **change})


def test_zero_terminal_snr(sd15: ModelSigmas) -> None:
    """Against the algorithm of the paper on sqrt(alpha), and diffusers' own on betas."""
    from diffusers.schedulers.scheduling_euler_discrete import rescale_zero_terminal_snr
    from torch import from_numpy

    shifted = sd15.zero_terminal_snr()
    betas = from_numpy(np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    alphas = np.cumprod(1 - rescale_zero_terminal_snr(betas).numpy())
    alphas = alphas[:-1]  # the last is 0
    np.testing.assert_allclose(shifted.table[:-1], np.sqrt((1 - alphas) / alphas), rtol=1e-6)
    assert shifted.largest == pytest.approx(4518.76, abs=0.01)
    assert shifted.smallest == pytest.approx(sd15.smallest)
    np.testing.assert_array_equal(model_sigmas({**SD15, "rescale_betas_zero_snr": True}).table, shifted.table)


def test_levels_of_a_model_that_was_halved_as_a_whole(sd15: ModelSigmas) -> None:
    halved = model_levels(sd15, SamplerOptions(use_downcasted_alpha_bar=True))
    alphas = 1 / (1 + halved.table**2)
    halves = alphas.astype(np.float16).astype(np.float64)
    assert np.allclose(alphas, halves, rtol=1e-9, atol=0), "half precision's numbers"
    assert 2**-14 < np.abs(alphas - 1 / (1 + sd15.table**2)).max() <= 2**-12, "half of its last place below 1"
    assert (np.diff(halved.table) > 0).all()
    both = SamplerOptions(use_downcasted_alpha_bar=True, sd_noise_schedule="Zero Terminal SNR")
    assert np.array_equal(model_levels(sd15, both).table, halved.zero_terminal_snr().table)


def test_every_twentieth_level_of_a_consistency_model(sd15: ModelSigmas) -> None:
    few = sd15.every(20)
    assert len(few) == 50
    np.testing.assert_array_equal(few.table, sd15.table[19::20])
