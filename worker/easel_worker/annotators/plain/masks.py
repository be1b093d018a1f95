"""The inpaint modules: the picture together with what is to be painted anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from easel_worker.annotators.annotation import Pixels
from easel_worker.annotators.opencv import cv2

INPAINT = frozenset({"inpaint", "inpaint_only"})


def inpaint(picture: Pixels, mask: NDArray[np.uint8] | None) -> Pixels:
    """(h, w, 4): the picture and its mask, brought to the picture's size, 255 where it is to be painted.

    Without a mask nothing is masked, until a border is added around the picture (resize mode "Resize and
    Fill"), which is.
    """
    height, width = picture.shape[:2]
    if mask is None:
        mask = np.zeros((height, width), np.uint8)
    elif mask.shape != (height, width):
        mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.dstack([picture, mask])
