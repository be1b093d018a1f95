"""UniPC: a predictor-corrector that needs no extra model calls (Zhao et al. 2023)."""

from __future__ import annotations

from collections import deque
from math import exp, expm1, factorial, log

import numpy as np
import torch

from easel_worker.diffusion.samplers.solver import Solver, Step

_ORDER = 3


def unipc(solver: Solver) -> Step:
    """UniPC-3 with B(h) = h ("bh1") in the data prediction (Zhao et al. 2023, algorithms 5 and 6).

    Each step first corrects the latent that it was given, with the model's answer there, then predicts the
    next. Orders rise from 1 at the start and fall to 1 at the end, so any number of steps works. No sigma may
    be 0.
    """
    # Newest first: (time, denoised). Time is -log(sigma).
    past: deque[tuple[float, torch.Tensor]] = deque(maxlen=_ORDER)
    start: torch.Tensor | None = None  # the latent that the last prediction started from
    last_order = 1

    def step(x: torch.Tensor, i: int) -> torch.Tensor:
        nonlocal start, last_order
        now, ahead = -log(solver.sigmas[i]), -log(solver.sigmas[i + 1])
        denoised = solver.denoise(x, solver.sigmas[i])
        if start is not None:
            x = _advance(start, past, now, last_order, denoised)
        past.appendleft((now, denoised))
        start, last_order = x, min(_ORDER, i + 1, solver.steps - i)
        return _advance(x, past, ahead, last_order, None)

    return step


def _advance(
    x: torch.Tensor,
    past: deque[tuple[float, torch.Tensor]],
    target: float,
    order: int,
    at_target: torch.Tensor | None,
) -> torch.Tensor:
    """From the newest entry of `past`, where the latent was `x`, to time `target`.

    UniP (predictor) of `order` where `at_target` is None; UniC (corrector), one order better, where it is the
    denoised latent at the target.
    """
    now, newest = past[0]
    h = target - now
    places = [(time - now) / h for time, _ in list(past)[1:order]]
    differences = [denoised - newest for _, denoised in list(past)[1:order]]
    if at_target is not None:
        places.append(1.0)
        differences.append(at_target - newest)
    # Where the data stays what it is now: exact for a constant prediction.
    result = torch.add(x * exp(-h), newest, alpha=-expm1(-h))
    for place, weight, difference in zip(places, _weights(places, h), differences, strict=True):
        result = torch.add(result, difference, alpha=h * weight / place)
    return result


def _weights(places: list[float], h: float) -> list[float]:
    """The weights w that satisfy sum_m w_m * places_m^(k-1) = k! * phi_(k+1)(-h) for k = 1 … len(places).

    Zhao et al. 2023, theorem 3.1 with B(h) = h. A single weight is 1/2 instead of the exact solution, which
    keeps the order (the paper's remark on p = 2) and does not depend on h.
    """
    count = len(places)
    if count == 1:
        return [0.5]
    phi = expm1(-h) / -h
    right = []
    for k in range(1, count + 1):
        phi = (phi - 1 / factorial(k)) / -h
        right.append(factorial(k) * phi)
    matrix = np.vander(places, count, increasing=True).T
    return [float(weight) for weight in np.linalg.solve(matrix, right)]
