"""UniPC: a predictor-corrector that needs no extra model calls (Zhao et al. 2023)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import exp, expm1, factorial, log

import numpy as np
import torch

from easel_worker.diffusion.samplers.solver import Solver


def unipc(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """UniPC in the data prediction (Zhao et al. 2023, algorithms 5 and 6).

    Each step first corrects the latent that it was given, with the model's answer there, then predicts the
    next. Orders rise from 1 at the start and, with `uni_pc_lower_order_final`, fall to 1 at the end; never
    more than there are steps, so any number of steps works. No sigma may be 0.
    """
    options = solver.options
    order = options.uni_pc_order
    # Newest first: (time, denoised). Time is -log(sigma).
    past: deque[tuple[float, torch.Tensor]] = deque(maxlen=order)
    start: torch.Tensor | None = None  # the latent that the last prediction started from
    last_order = 1
    for i, (sigma, target) in enumerate(solver.intervals()):
        now, ahead = -log(sigma), -log(target)
        denoised = solver.denoise(x, sigma)
        if start is not None:
            x = _advance(start, past, now, last_order, denoised, options.uni_pc_variant)
        past.appendleft((now, denoised))
        last_order = min(order, i + 1)
        if options.uni_pc_lower_order_final:
            last_order = min(last_order, solver.steps - i)
        start = x
        x = _advance(x, past, ahead, last_order, None, options.uni_pc_variant)
        yield x


def _advance(
    x: torch.Tensor,
    past: deque[tuple[float, torch.Tensor]],
    target: float,
    order: int,
    at_target: torch.Tensor | None,
    variant: str,
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
    for place, weight, difference in zip(places, _weights(places, h, variant), differences, strict=True):
        result = torch.add(result, difference, alpha=weight / place)
    return result


def _weights(places: list[float], h: float, variant: str) -> list[float]:
    """The weights w that satisfy sum_m w_m * places_m^(k-1) = h * k! * phi_(k+1)(-h) for k = 1 … len(places).

    Zhao et al. 2023, theorem 3.1; B(h) of the paper cancels out. Only where there is a single weight do the
    variants differ: bh1 and bh2 take B(h)/2 with B(h) = h and 1 - e^-h, which keeps the order (the paper's
    remark on p = 2), vary_coeff (section 3.4) the exact solution.
    """
    count = len(places)
    if count == 1 and variant != "vary_coeff":
        return [(h if variant == "bh1" else -expm1(-h)) / 2]
    phi = expm1(-h) / -h
    right = []
    for k in range(1, count + 1):
        phi = (phi - 1 / factorial(k)) / -h
        right.append(h * factorial(k) * phi)
    matrix = np.vander(places, count, increasing=True).T
    return [float(weight) for weight in np.linalg.solve(matrix, right)]
