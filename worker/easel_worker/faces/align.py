"""From a face in a picture to an upright crop of 512 x 512, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE = 512
"""Pixels: what restorers are trained on."""

TEMPLATE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.19360],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Where eyes, nose and the mouth's corners are in aligned pictures of the FFHQ data set (512 x 512), which
both restorers were trained on."""

BORDER = 24
"""Pixels of the crop along which a restored face fades into the picture."""

Matrix = NDArray[np.float64]
"""(2, 3): from the picture's coordinates to the crop's."""


def similarity(points: NDArray[np.float64], target: NDArray[np.float64] = TEMPLATE) -> Matrix:
    """The turn, scale and shift that bring `points` nearest to `target`, in the least-squares sense.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).

    Args:
        points, target: (n, 2), x and y.
    """
    centre, centre_target = points.mean(0), target.mean(0)
    moved, moved_target = points - centre, target - centre_target
    u, strengths, v = np.linalg.svd(moved_target.T @ moved / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1.0])
    rotation = u @ np.diag(signs) @ v
    scale = float((strengths * signs).sum() / max(moved.var(0).sum(), 1e-12))
    shift = centre_target - scale * rotation @ centre
    return np.concatenate([scale * rotation, shift[:, None]], axis=1)


def crop_face(picture: Image.Image, matrix: Matrix) -> Image.Image:
    """The face as an upright square of `SIDE`; what lies beyond the picture is its edge's colour, dark."""
    return picture.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, _coefficients(_inverse(matrix)), Image.Resampling.BICUBIC
    )


def paste_face(picture: Image.Image, face: Image.Image, matrix: Matrix) -> Image.Image:
    """`picture` with a restored crop put back to where it was taken from."""
    back = _coefficients(matrix)
    warped = face.transform(picture.size, Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
    mask = _mask().transform(picture.size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return Image.composite(warped, picture, mask)


def _mask() -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (BORDER, BORDER, SIDE - BORDER, SIDE - BORDER))
    return mask.filter(ImageFilter.GaussianBlur(BORDER / 3))


def _inverse(matrix: Matrix) -> Matrix:
    turn = np.linalg.inv(matrix[:, :2])
    return np.concatenate([turn, -turn @ matrix[:, 2:]], axis=1)


def _coefficients(matrix: Matrix) -> tuple[float, ...]:
    """What Pillow wants: from the made picture's coordinates to the source's."""
    return tuple(float(value) for value in matrix.ravel())
