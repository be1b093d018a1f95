"""Schedules: which noise levels a sampler visits, from the model's largest down.

Each takes the model's levels and a number of steps and returns descending sigmas, the last usually 0. Names
are those of A1111's `GET /sdapi/v1/schedulers`; formulas from the sources named at each function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.sigmas import Floats, ModelSigmas

Schedule = Callable[[ModelSigmas, int], Floats]

_KARRAS_RHO = 7.0  # Karras et al. 2022, table 1
_BETA = 0.6  # both parameters of the beta schedule: A1111's options beta_dist_alpha and beta_dist_beta
# Align Your Steps (Sabour et al. 2024), the table for SD 1.5 from the paper's project page; 10 steps.
_AYS_SD15 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)


def _then_zero(sigmas: Floats) -> Floats:
    return np.append(sigmas, 0.0)


def uniform(model: ModelSigmas, steps: int) -> Floats:
    """Timesteps evenly spaced over the whole training range, then 0 (k-diffusion `get_sigmas` of a model)."""
    return _then_zero(model.at(np.linspace(len(model) - 1, 0, steps)))


def karras(model: ModelSigmas, steps: int) -> Floats:
    """Evenly spaced in sigma^(1/7), then 0 (Karras et al. 2022, equation 5)."""
    ramp = np.linspace(0, 1, steps)
    top, bottom = model.largest ** (1 / _KARRAS_RHO), model.smallest ** (1 / _KARRAS_RHO)
    return _then_zero((top + ramp * (bottom - top)) ** _KARRAS_RHO)


def exponential(model: ModelSigmas, steps: int) -> Floats:
    """Evenly spaced in log(sigma), then 0 (k-diffusion `get_sigmas_exponential`)."""
    return _then_zero(np.geomspace(model.largest, model.smallest, steps))


def polyexponential(model: ModelSigmas, steps: int) -> Floats:
    """log(sigma) along ramp^rho, then 0 (k-diffusion `get_sigmas_polyexponential`); at its default rho of 1
    this is the exponential schedule.
    """
    return exponential(model, steps)


def sgm_uniform(model: ModelSigmas, steps: int) -> Floats:
    """Timesteps evenly spaced with one more point, the last of which is dropped, then 0 (Stability's SGM)."""
    return _then_zero(model.at(np.linspace(len(model) - 1, 0, steps + 1)[:-1]))


def kl_optimal(model: ModelSigmas, steps: int) -> Floats:
    """Evenly spaced in arctan(sigma), steps + 1 levels without a final 0 (Sabour et al. 2024, appendix)."""
    ramp = np.linspace(0, 1, steps + 1)
    levels: Floats = np.tan(ramp * np.arctan(model.smallest) + (1 - ramp) * np.arctan(model.largest))
    return levels


def align_your_steps(model: ModelSigmas, steps: int) -> Floats:
    """A table found by optimisation, log-linearly interpolated to `steps` levels, then 0 (Sabour et al.
    2024).

    The table is Stable Diffusion 1.5's and does not follow the model's own range.
    """
    places = np.linspace(0, 1, len(_AYS_SD15))
    return _then_zero(np.exp(np.interp(np.linspace(0, 1, steps), places, np.log(_AYS_SD15))))


def beta(model: ModelSigmas, steps: int) -> Floats:
    """sigma at the quantiles of a Beta(0.6, 0.6) distribution over the model's range, then 0.

    Dense at both ends (Lee et al. 2024, "Beta Sampling is All You Need"). As in A1111, the quantiles are
    taken of sigma itself; diffusers' `use_beta_sigmas` does the same.
    """
    places = _beta_quantiles(np.linspace(1, 0, steps))
    return _then_zero(model.smallest + places * (model.largest - model.smallest))


def _beta_quantiles(probabilities: Floats) -> Floats:
    """The inverse of Beta(a, a)'s distribution function, a = 0.6, by bisection (to 1e-15, without scipy).

    With t = u^(1/a) the density's pole at 0 vanishes: its integral up to x is that of (1 - u^(1/a))^(a - 1) /
    a up to x^a, smooth as long as x <= 1/2; the other half is the mirror image.
    """
    nodes, weights = np.polynomial.legendre.leggauss(48)
    nodes, weights = (nodes + 1) / 2, weights / 2  # on [0, 1]

    def area(x: Floats) -> Floats:
        top = x[:, None] ** _BETA
        areas: Floats = np.sum(weights * top * (1 - (nodes * top) ** (1 / _BETA)) ** (_BETA - 1), axis=1)
        return areas

    half = np.minimum(probabilities, 1 - probabilities)
    wanted = half * 2 * area(np.array([0.5]))
    low, high = np.zeros_like(half), np.full_like(half, 0.5)
    for _ in range(52):
        middle = (low + high) / 2
        below = area(middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(probabilities > 0.5, 1 - low, low)


def simple(model: ModelSigmas, steps: int) -> Floats:
    """Every k-th training level from the top, rounded down, then 0 (ComfyUI `simple_scheduler`)."""
    places = len(model) - 1 - (np.arange(steps) * (len(model) / steps)).astype(np.int64)
    return _then_zero(model.table[places])


def ddim(model: ModelSigmas, steps: int) -> Floats:
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
    # Same levels as "uniform"; the two differ upstream only in how they are computed.
    "normal": uniform,
    "ddim": ddim,
    "beta": beta,
}


def schedule(name: str, model: ModelSigmas, steps: int) -> Floats:
    """The levels of a schedule by its name. Raises `JobError` for an unknown name."""
    found = SCHEDULES.get(name)
    if found is None:
        raise JobError(f"scheduler: {name!r} is unknown, use one of {', '.join(SCHEDULES)}")
    return found(model, steps)


def ddim_timesteps(training_steps: int, steps: int) -> Floats:
    """The timesteps of A1111's DDIM family, ascending: 1, 1 + k, 1 + 2k, ... with k = training_steps //
    steps.

    A sampler walks from the last to the first, one step fewer than there are entries: 20 steps give 1, 51,
    ..., 951 and 19 model calls. A single step, which that rule would leave without any, gets the whole range.
    """
    stride = max(training_steps // steps, 1)
    timesteps = np.minimum(np.arange(0, training_steps, stride) + 1, training_steps - 1)
    if len(timesteps) < 2:
        timesteps = np.array([1, training_steps - 1])
    return timesteps.astype(np.float64)
