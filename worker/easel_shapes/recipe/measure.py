"""Reads a picture of shapes with plain colour statistics: the background, and each shape's colour and place.

No learned part, so that it can judge a model. What shape a blob is, `classifier` says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from easel_shapes.recipe.words import COLOURS, POSITIONS

_NAMES = tuple(COLOURS)
_PALETTE = np.array([COLOURS[name] for name in _NAMES], dtype=np.float32)
_FRAME = 3  # pixels along the border that show the background
_APART = 55.0  # Euclidean RGB distance from the background from which a pixel belongs to a shape
_SPECK = 0.008  # part of the picture; a smaller blob is no shape

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Blob:
    """One connected shape. `x`, `y`, `width`, `height`: its bounding box's centre and sides in parts of the
    picture's; `area`: the part of the picture that it covers; `mask`: (height, width) of the picture."""

    colour: str
    position: str
    x: float
    y: float
    width: float
    height: float
    area: float
    mask: Mask


@dataclass(frozen=True)
class Reading:
    """What is in a picture; blobs from left to right."""

    background: str
    blobs: tuple[Blob, ...]

    @property
    def largest(self) -> Blob | None:
        """The blob that covers most; None where there is none."""
        return max(self.blobs, key=lambda blob: blob.area, default=None)


def read(picture: Picture) -> Reading:
    """The reading of a (height, width, 3) RGB picture."""
    blobs = sorted(_blobs(picture), key=lambda blob: blob.x)
    return Reading(background_of(picture), tuple(blobs))


def nearest_colours(pixels: Picture) -> NDArray[np.intp]:
    """For (..., 3) RGB pixels the index of the nearest colour in `words.COLOURS`."""
    distances = ((pixels[..., None, :].astype(np.float32) - _PALETTE) ** 2).sum(-1)
    return np.asarray(distances.argmin(axis=-1), dtype=np.intp)


def most_common_colour(pixels: Picture) -> str:
    """The colour name that most of the (n, 3) pixels are nearest to."""
    return _NAMES[Counter(nearest_colours(pixels).tolist()).most_common(1)[0][0]]


def background_of(picture: Picture) -> str:
    """The colour name of the picture's border."""
    return most_common_colour(_border(picture))


def position_at(x: float, y: float) -> str:
    """The position word nearest to a place, in parts of the sides."""
    return min(POSITIONS, key=lambda name: (POSITIONS[name][0] - x) ** 2 + (POSITIONS[name][1] - y) ** 2)


def foreground(picture: Picture) -> Mask:
    """Where the picture is clearly not its background: (height, width)."""
    ground = np.median(_border(picture), axis=0)
    distances = np.sqrt(((picture.astype(np.float32) - ground) ** 2).sum(-1))
    return np.asarray(distances > _APART)


def connected(mask: Mask) -> list[Mask]:
    """The mask's connected parts (4 neighbours), largest first."""
    parts = []
    left = mask.copy()
    height, width = mask.shape
    while left.any():
        start = np.unravel_index(int(left.argmax()), left.shape)
        part = np.zeros_like(mask)
        todo = [(int(start[0]), int(start[1]))]
        left[todo[0]] = False
        while todo:
            row, column = todo.pop()
            part[row, column] = True
            for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= place[0] < height and 0 <= place[1] < width and left[place]:
                    left[place] = False
                    todo.append(place)
        parts.append(part)
    return sorted(parts, key=lambda part: -int(part.sum()))


def _blobs(picture: Picture) -> list[Blob]:
    parts: list[Mask] = []
    for part in connected(foreground(picture)):
        # What lies within another part's box is an inner outline of the same shape.
        outer = next((index for index, other in enumerate(parts) if _within(part, other)), None)
        if outer is None:
            parts.append(part)
        else:
            parts[outer] |= part
    return [_blob(picture, part) for part in parts if part.mean() >= _SPECK]


def _blob(picture: Picture, mask: Mask) -> Blob:
    height, width = mask.shape
    top, bottom, left, right = box(mask)
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    core = _shrink(mask)
    return Blob(
        colour=most_common_colour(picture[core if core.any() else mask]),
        position=position_at(x, y),
        x=x,
        y=y,
        width=(right - left) / width,
        height=(bottom - top) / height,
        area=float(mask.mean()),
        mask=mask,
    )


def box(mask: Mask) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what is set; bottom and right exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _within(part: Mask, other: Mask) -> bool:
    top, bottom, left, right = box(part)
    outer = box(other)
    return top >= outer[0] and bottom <= outer[1] and left >= outer[2] and right <= outer[3]


def _shrink(mask: Mask) -> Mask:
    """Without its rim, whose colours are mixed with the background's."""
    padded = np.pad(mask, 1)
    return mask & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]


def _border(picture: Picture) -> Picture:
    frame = np.ones(picture.shape[:2], dtype=bool)
    frame[_FRAME:-_FRAME, _FRAME:-_FRAME] = False
    return picture[frame]
