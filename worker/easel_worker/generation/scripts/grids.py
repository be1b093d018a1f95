"""Grids without gaps, as captions are drawn around them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from easel_worker.imaging.resize import Size
from easel_worker.outputs.grid import make_grid


def lay_out(images: Sequence[Image.Image], *, columns: int) -> tuple[Image.Image, Size]:
    """Pictures row by row, and the size of a cell: that of the largest picture."""
    shape = math.ceil(len(images) / columns), columns
    grid = Image.fromarray(make_grid([np.asarray(image) for image in images], shape))
    return grid, (grid.width // shape[1], grid.height // shape[0])
