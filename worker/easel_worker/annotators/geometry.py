"""From a map's size to the job's: resize modes, pixel perfect, and the hint that a model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from easel_contract.controlnet import ResizeMode
from easel_worker.annotators.annotation import Pixels
from easel_worker.annotators.opencv import cv2

if TYPE_CHECKING:
    from torch import Tensor

FEW = 200
"""Colours below which a map is a drawing of labels, whose colours must not be mixed."""
STRIPE = 4
"""Areas of the job that a picture may have when it covers the job; of a larger one, the middle is cut out
before it grows. A stripe would take gigabytes."""
SAMPLE = 8192
"""Pixels that are looked at first: most photographs show more colours in them."""
MASKED = 127
"""A mask's value above which a pixel is masked."""


def pixel_perfect_resolution(source: tuple[int, int], target: tuple[int, int], mode: ResizeMode) -> int:
    """The resolution at which one pixel of the map becomes one pixel of the job.

    Args:
        source, target: Width and height of the picture and of the job.
        mode: With `RESIZE_AND_FILL` the whole picture is inside the job, otherwise it covers it.

    Returns:
        Length of the shorter side in pixels, at least 1.
    """
    scales = target[0] / source[0], target[1] / source[1]
    scale = min(scales) if mode is ResizeMode.RESIZE_AND_FILL else max(scales)
    return max(1, round(scale * min(source)))


def fit_hint(picture: Pixels, mode: ResizeMode, width: int, height: int) -> Pixels:
    """`picture`, (h, w, 3) or (h, w, 4) with a mask, as (height, width, …).

    JUST_RESIZE       both sides to the job's, the aspect ratio is lost
    CROP_AND_RESIZE   covers the job; what sticks out is cut off, equally on both sides
    RESIZE_AND_FILL   inside the job; the border gets the median colour of the picture's edge, and where there
                      is a mask, the border is masked: it is to be painted

    Raises:
        ValueError: a side is below 1.
    """
    if width < 1 or height < 1:
        raise ValueError(f"size: {width}x{height} should be at least 1x1")
    h, w = picture.shape[:2]
    if mode is ResizeMode.JUST_RESIZE or (w, h) == (width, height):
        return scale(picture, width, height)
    if mode is ResizeMode.CROP_AND_RESIZE:
        factor = max(width / w, height / h)
        if w * factor * h * factor > STRIPE * width * height:
            picture = _middle(picture, width / factor, height / factor)
            h, w = picture.shape[:2]
        scaled = scale(picture, max(width, round(w * factor)), max(height, round(h * factor)))
        top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
        return np.ascontiguousarray(scaled[top : top + height, left : left + width])
    factor = min(width / w, height / h)
    inner_w, inner_h = (min(width, max(1, round(w * factor))), min(height, max(1, round(h * factor))))
    scaled = scale(picture, inner_w, inner_h)
    canvas = np.empty((height, width, picture.shape[2]), np.uint8)
    canvas[:] = _border(scaled)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    canvas[top : top + inner_h, left : left + inner_w] = scaled
    return canvas


def scale(picture: Pixels, width: int, height: int) -> Pixels:
    """`picture` at this size, by what its colours say that it is.

    - Two colours (edges, a scribble): stays two-coloured. Shrunk, a line keeps its width of one pixel at
      least, which neither nearest nor area with a threshold at one half would do.
    - Few colours (labels, a grid, a pose): nearest, so that no colour appears that means something else.
    - Otherwise: averaged when it shrinks, bicubic when it grows.

    A fourth channel is a mask, and stays black and white.
    """
    if picture.shape[1::-1] == (width, height):
        return picture
    if picture.shape[2] == 4:
        colours = scale(np.ascontiguousarray(picture[..., :3]), width, height)
        mask = _resize(picture[..., 3], width, height)
        return np.dstack([colours, np.where(mask > MASKED, 255, 0).astype(np.uint8)])
    found = _colours(picture)
    if 2 < len(found) < FEW:
        nearest = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(nearest, np.uint8)
    scaled = _resize(picture, width, height)
    if len(found) == 2:
        return _two_coloured(picture, scaled, found)
    return scaled


def to_hint(picture: Pixels) -> Tensor:
    """(1, 3, h, w) float32, 0 to 1, of a fitted map; -1 in all channels where a fourth one masks."""
    import torch

    values = picture[..., :3].astype(np.float32) / 255.0
    if picture.shape[2] == 4:
        values[picture[..., 3] > MASKED] = -1.0
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


def _middle(picture: Pixels, width: float, height: float) -> Pixels:
    """The pixels of which any part is within this size around the middle."""
    h, w = picture.shape[:2]
    left, top = max(0, int((w - width) / 2)), max(0, int((h - height) / 2))
    return np.ascontiguousarray(picture[top : h - top, left : w - left])


def _resize(picture: Pixels, width: int, height: int) -> Pixels:
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    resized = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    return np.asarray(resized, np.uint8)


def _colours(picture: Pixels) -> Pixels:
    """The distinct colours, (n, 3), darkest first; of a picture with many, some."""
    values = picture.astype(np.uint32)
    pixels = (values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]).ravel()
    packed = np.unique(pixels[:: max(1, len(pixels) // SAMPLE)])
    if len(packed) < FEW:
        # Marking is faster than sorting, which np.unique would do with all pixels.
        there = np.zeros(1 << 24, bool)
        there[pixels] = True
        packed = np.flatnonzero(there)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
    return colours[np.argsort(colours.sum(axis=1, dtype=np.int64), kind="stable")]


def _two_coloured(before: Pixels, scaled: Pixels, colours: Pixels) -> Pixels:
    """`scaled` with each pixel set to one of the two colours. The rarer one is the drawing."""
    first, second = colours.astype(np.float32)
    channel = int(np.abs(second - first).argmax())  # where two colours differ, one channel tells all
    share = (scaled[..., channel] - first[channel]) / (second[channel] - first[channel])
    second_is_drawn = float((before[..., channel] == colours[1, channel]).mean()) <= 0.5
    shrink = max(before.shape[0] / scaled.shape[0], before.shape[1] / scaled.shape[1], 1.0)
    least = 0.5 / shrink
    is_second = share >= least if second_is_drawn else share > 1.0 - least
    made: Pixels = np.where(is_second[..., None], colours[1], colours[0])
    return made


def _border(picture: Pixels) -> Pixels:
    """The median of the outermost pixels, channel by channel; masked where there is a mask."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colour: Pixels = np.median(edge, axis=0).astype(np.uint8)
    if picture.shape[2] == 4:
        colour[3] = 255
    return colour
