"""Schedules: which noise levels a sampler visits, from the largest down.

Each takes the model's levels, a number of steps and what a job may set about it, and returns descending
sigmas, the last usually 0. Names are those of A1111's `GET /sdapi/v1/schedulers`; formulas from the sources
named at each function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from easel_worker.diffusion.beta_distribution import beta_quantiles
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.sigmas import Floats, ModelSigmas

_KARRAS_RHO = 7.0  # Karras et al. 2022, table 1
# Align Your Steps (Sabour et al. 2024), the tables for SD 1.5 and SDXL from the paper's page; 10 steps.
_AYS_SD15 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
_AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


@dataclass(frozen=True)
class ScheduleOptions:
    """What a job may set about a schedule. 0 is the default: the model's own ends, the schedule's own rho.

    `sdxl`: the model is an SDXL, which has its own table in Align Your Steps.
    """

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    beta_dist_alpha: float = 0.6
    beta_dist_beta: float = 0.6
    sdxl: bool = False

    def ends(self, model: ModelSigmas) -> tuple[float, float]:
        """The smallest and the largest sigma. Raises `JobError` where the first is not below the second."""
        low, high = self.sigma_min or model.smallest, self.sigma_max or model.largest
        if low >= high:
            raise JobError(f"sigma_min: {low:g} should be below sigma_max, {high:g}")
        return low, high


Schedule = Callable[[ModelSigmas, int, ScheduleOptions], Floats]


def _then_zero(sigmas: Floats) -> Floats:
    return np.append(sigmas, 0.0)


def _timesteps(model: ModelSigmas, options: ScheduleOptions, count: int) -> Floats:
    low, high = options.ends(model)
    return np.linspace(model.timestep(high), model.timestep(low), count)


def uniform(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Timesteps evenly spaced over the whole training range, then 0 (k-diffusion `get_sigmas` of a model)."""
    return _then_zero(model.at(np.linspace(len(model) - 1, 0, steps)))


def normal(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Timesteps evenly spaced between the two ends, then 0 (ComfyUI `normal_scheduler`)."""
    return _then_zero(model.at(_timesteps(model, options, steps)))


def karras(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Evenly spaced in sigma^(1/rho), rho 7, then 0 (Karras et al. 2022, equation 5)."""
    low, high = options.ends(model)
    return _then_zero(karras_ramp(high, low, steps, options.rho or _KARRAS_RHO))


def karras_ramp(high: float, low: float, count: int, rho: float = _KARRAS_RHO) -> Floats:
    """`count` levels from `high` to `low`, evenly spaced in sigma^(1/rho)."""
    top, bottom = high ** (1 / rho), low ** (1 / rho)
    levels: Floats = (top + np.linspace(0, 1, count) * (bottom - top)) ** rho
    return levels


def exponential(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Evenly spaced in log(sigma), then 0 (k-diffusion `get_sigmas_exponential`)."""
    low, high = options.ends(model)
    return _then_zero(np.geomspace(high, low, steps))


def polyexponential(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """log(sigma) along ramp^rho, rho 1, then 0 (k-diffusion `get_sigmas_polyexponential`)."""
    low, high = options.ends(model)
    ramp = np.linspace(1, 0, steps) ** (options.rho or 1.0)
    return _then_zero(low * (high / low) ** ramp)


def sgm_uniform(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Timesteps evenly spaced with one more point, the last of which is dropped, then 0 (Stability's SGM)."""
    return _then_zero(model.at(_timesteps(model, options, steps + 1)[:-1]))


def kl_optimal(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Evenly spaced in arctan(sigma), steps + 1 levels without a final 0 (Sabour et al. 2024, appendix)."""
    low, high = options.ends(model)
    ramp = np.linspace(0, 1, steps + 1)
    levels: Floats = np.tan(ramp * np.arctan(low) + (1 - ramp) * np.arctan(high))
    return levels


def align_your_steps(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """A table found by optimisation, log-linearly interpolated to `steps` levels, then 0 (Sabour et al.
    2024).

    The table does not follow the model's own range.
    """
    table = np.array(_AYS_SDXL if options.sdxl else _AYS_SD15)
    places = np.linspace(0, 1, len(table))
    return _then_zero(np.exp(np.interp(np.linspace(0, 1, steps), places, np.log(table))))


def beta(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """sigma at the quantiles of a Beta(0.6, 0.6) distribution over the range, then 0.

    Dense at both ends (Lee et al. 2024, "Beta Sampling is All You Need"). As in A1111, the quantiles are
    taken of sigma itself; diffusers' `use_beta_sigmas` does the same.
    """
    low, high = options.ends(model)
    places = beta_quantiles(np.linspace(1, 0, steps), options.beta_dist_alpha, options.beta_dist_beta)
    return _then_zero(low + places * (high - low))


def simple(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Every k-th training level from the top, rounded down, then 0 (ComfyUI `simple_scheduler`)."""
    places = len(model) - 1 - (np.arange(steps) * (len(model) / steps)).astype(np.int64)
    return _then_zero(model.table[places])


def ddim(model: ModelSigmas, steps: int, options: ScheduleOptions) -> Floats:
    """Every k-th training level from timestep 1 up, k = 1000 // steps, then 0 (ComfyUI `ddim_scheduler`).

    Where steps does not divide 1000 there are more levels than steps.
    """
    stride = max(len(model) // steps, 1)
    return _then_zero(model.table[1::stride][::-1])


SCHEDULES: dict[str, Schedule] = {
    "uniform": uniform,
    "karras": karras,
    "exponential": exponential,
    "polyexponential": polyexponential,
    "sgm_uniform": sgm_uniform,
    "kl_optimal": kl_optimal,
    "align_your_steps": align_your_steps,
    "simple": simple,
    "normal": normal,
    "ddim": ddim,
    "beta": beta,
}


def schedule(name: str, model: ModelSigmas, steps: int, options: ScheduleOptions | None = None) -> Floats:
    """The levels of a schedule by its name, never rising.

    Raises `JobError` for an unknown name, and for ends in the wrong order.
    """
    found = SCHEDULES.get(name)
    if found is None:
        raise JobError(f"scheduler: {name!r} is unknown, use one of {', '.join(SCHEDULES)}")
    return found(model, steps, options or ScheduleOptions())


def ddim_timesteps(training_steps: int, steps: int) -> Floats:
    """The timesteps of A1111's DDIM family, ascending: 1, 1 + k, 1 + 2k, ... with k = training_steps //
    steps.

    A sampler walks from the last to the first, one step fewer than there are entries: 20 steps give 1, 51,
    ..., 951 and 19 steps.
    """
    stride = max(training_steps // steps, 1)
    timesteps = np.minimum(np.arange(0, training_steps, stride) + 1, training_steps - 1)
    return timesteps.astype(np.float64)
