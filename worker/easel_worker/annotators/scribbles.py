"""Masks of modules that do not inpaint: they are drawings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLEAR, FULL = 5, 250
"""A mask that is nowhere above, or nowhere below these levels is no drawing: A1111's page sends such."""


def drawing_of(mask: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    """(h, w, 3), white on black: what somebody drew with the mask's brush over a picture that was there to
    draw on; None where nothing is drawn. It takes the picture's place, and needs no preprocessor."""
    if mask is None or int(mask.max()) <= CLEAR or int(mask.min()) >= FULL:
        return None
    return np.repeat(mask[..., None], 3, axis=2)
