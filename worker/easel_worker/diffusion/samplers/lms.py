"""Linear multistep: Adams-Bashforth, on uneven steps and on even ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from numpy.polynomial import Polynomial

from easel_worker.diffusion.samplers.solver import Solver

_ORDER = 4  # k-diffusion `sample_lms`; Liu et al. 2022
# Adams-Bashforth on even steps, newest slope first (Liu et al. 2022, equation 12).
_EVEN = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def lms(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The slopes of up to four steps, weighted as their interpolating polynomial asks (k-diffusion
    `sample_lms`).
    """
    slopes: deque[torch.Tensor] = deque(maxlen=_ORDER)
    for i in range(solver.steps):
        sigma = solver.sigmas[i]
        slopes.appendleft((x - solver.denoise(x, sigma)) / sigma)
        x = _weighted(x, slopes, lms_weights(solver.sigmas, i, len(slopes)))
        yield x


def plms(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The slopes of up to four steps with the weights of even steps, whatever the steps are (PNDM's linear
    multistep, Liu et al. 2022, equations 12 and 13).

    The first step is Heun's, with two model calls; a step is in variance-exploding scale what DDIM's transfer
    is in the paper's.
    """
    slopes: deque[torch.Tensor] = deque(maxlen=_ORDER)
    for sigma, target in solver.intervals():
        width = target - sigma
        slopes.appendleft((x - solver.denoise(x, sigma)) / sigma)
        if len(slopes) == 1:
            guess = torch.add(x, slopes[0], alpha=width)
            ahead = (guess - solver.denoise(guess, target)) / target
            x = torch.add(x, slopes[0] + ahead, alpha=width / 2)
        else:
            x = _weighted(x, slopes, [width * weight for weight in _EVEN[len(slopes) - 1]])
        yield x


def _weighted(x: torch.Tensor, slopes: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    for weight, slope in zip(weights, slopes, strict=True):
        x = torch.add(x, slope, alpha=weight)
    return x


def lms_weights(sigmas: Sequence[float], i: int, order: int) -> list[float]:
    """The weight of the slope at sigmas[i - j], j = 0 … order - 1, in the step from sigmas[i] to sigmas[i +
    1].

    Each is the integral over that step of the Lagrange polynomial that is 1 at its own sigma and 0 at the
    others; integrated exactly. Computed relative to sigmas[i], where rounding hurts least.
    """
    nodes = [sigmas[i - j] - sigmas[i] for j in range(order)]
    width = sigmas[i + 1] - sigmas[i]
    weights = []
    for j, own in enumerate(nodes):
        others = nodes[:j] + nodes[j + 1 :]
        basis = Polynomial([1.0])
        for other in others:
            basis *= Polynomial([-other, 1.0]) / (own - other)
        weights.append(float(basis.integ()(width)))
    return weights
