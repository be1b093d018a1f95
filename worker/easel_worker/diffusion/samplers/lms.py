"""Linear multistep: Adams-Bashforth on uneven steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from numpy.polynomial import Polynomial

from easel_worker.diffusion.samplers.solver import Solver, Step

_ORDER = 4  # k-diffusion `sample_lms`


def lms(solver: Solver) -> Step:
    """The slopes of up to four steps, weighted as their interpolating polynomial asks (k-diffusion
    `sample_lms`).
    """
    slopes: deque[torch.Tensor] = deque(maxlen=_ORDER)

    def step(x: torch.Tensor, i: int) -> torch.Tensor:
        sigma = solver.sigmas[i]
        slopes.appendleft((x - solver.denoise(x, sigma)) / sigma)
        for weight, slope in zip(lms_weights(solver.sigmas, i, len(slopes)), slopes, strict=True):
            x = torch.add(x, slope, alpha=weight)
        return x

    return step


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
