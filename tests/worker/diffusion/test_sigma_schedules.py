"""Noise levels against the published vectors: SD 1.5's betas, 10 steps."""

from __future__ import annotations

import numpy as np
import pytest

from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.diffusion.schedules import SCHEDULES, ddim_timesteps, schedule
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
    assert ddim_timesteps(1000, 1).tolist() == [1, 999]
    assert ddim_timesteps(1000, 5000)[-1] == 999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_schedule": "cosine"}, "beta_schedule 'cosine' is unknown"),
        ({"beta_start": None}, "beta_start and beta_end must be numbers"),
        ({"beta_end": 1.5}, "0 < beta_start <= beta_end < 1"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is not supported"),
    ],
)
def test_configurations_that_give_no_sigmas(change: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        model_sigmas({**SD15, **change})
