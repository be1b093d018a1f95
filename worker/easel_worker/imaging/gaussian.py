"""A Gaussian blur whose cost hardly depends on its width."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from easel_worker.imaging.levels import Floats

# The kernel reaches this many sigmas to each side.
_REACH = 2.5
# Rows blurred by one matrix product: enough to keep it efficient, few enough to keep the matrix small.
_BLOCK = 256


def blur_kernel(sigma: float) -> NDArray[np.float64]:
    """Weights of the blur, odd in number: 2 * int(2.5 * sigma + 0.5) + 1, with sum 1."""
    reach = int(_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return cast("NDArray[np.float64]", weights / weights.sum())


def blur_rows(values: Floats, sigma: float) -> Floats:
    """`values` (H, W) blurred along the first axis with standard deviation `sigma` > 0, in pixels.

    Beyond the border the values go on as their mirror image around the border pixel, which is not repeated.
    """
    kernel = blur_kernel(sigma)
    length, span = len(values), len(kernel) - 1
    around = values[_mirrored(np.arange(-(span // 2), length + span // 2), length)]
    block = min(length, _BLOCK)
    matrix = np.zeros((block, block + span), dtype=np.float32)
    for row in range(block):
        matrix[row, row : row + span + 1] = kernel
    blurred = np.empty_like(values)
    for start in range(0, length, block):
        rows = min(block, length - start)
        blurred[start : start + rows] = matrix[:rows, : rows + span] @ around[start : start + rows + span]
    return blurred


def blur_columns(values: Floats, sigma: float) -> Floats:
    """As `blur_rows`, along the second axis."""
    return cast("Floats", blur_rows(values.T, sigma).T)


def _mirrored(indices: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Indices beyond 0 … length - 1 reflected at the border pixels, as often as it takes."""
    if length == 1:
        return np.zeros_like(indices)
    period = 2 * (length - 1)
    folded = indices % period
    return np.minimum(folded, period - folded)
