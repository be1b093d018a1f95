"""Scenes for the ControlNet: shapes anywhere and of any outline, which no caption could tell.

A network that only ever sees the ten shapes learns to name what it sees; one that has to follow any outline
learns to look.
"""

from __future__ import annotations

import math
from random import Random

from easel_shapes.recipe.drawing import Item, Point, Scene, contours_of
from easel_shapes.recipe.scenes import is_plain_to_see, random_scene
from easel_shapes.recipe.words import COLOURS, SHAPES

_KNOWN_LAYOUTS = 0.4  # of the scenes are drawn as for the model itself
_COUNTS = (1, 1, 1, 2, 2, 3)
_RADII = {1: (0.16, 0.42), 2: (0.13, 0.25), 3: (0.12, 0.19)}
_MARGIN = 0.02  # between shapes, and to the frame, in parts of the shorter side
_REACH = 1.08  # the farthest point of a shape, in radii
_KNOWN_OUTLINE = 0.45  # of the freehand shapes; the others are polygons and pebbles
_PEBBLE_POINTS = 64
_FILLS = ("plain",) * 8 + ("striped", "outlined")


def control_scene(rng: Random, width: int, height: int) -> Scene:
    """A scene for training the ControlNet: one of the model's own, or freehand."""
    if rng.random() < _KNOWN_LAYOUTS:
        return random_scene(rng, width, height)
    while True:
        scene = freehand_scene(rng, width, height)
        if is_plain_to_see(scene):
            return scene


def freehand_scene(rng: Random, width: int, height: int) -> Scene:
    """One to three shapes of any outline at any place, which do not touch."""
    count = rng.choice(_COUNTS)
    places = _places(rng, count, width, height)
    background, *colours = rng.sample(list(COLOURS), count + 1)
    if rng.random() < 0.4:  # equal ones: only the outline tells them apart
        colours = colours[:1] * count
    fill = rng.choice(_FILLS)
    items = tuple(
        Item(rng.choice(SHAPES), colour, x, y, radius, fill, outline=_outline(rng))
        for colour, (x, y, radius) in zip(colours, places, strict=True)
    )
    return Scene(width, height, background, items, "single" if count == 1 else "three")


def _places(rng: Random, count: int, width: int, height: int) -> list[tuple[float, float, float]]:
    """(x, y, radius) of shapes that do not touch, in the units of `Item`."""
    short = min(width, height)
    wide, high = width / short, height / short
    while True:
        found: list[tuple[float, float, float]] = []
        for _ in range(count):
            radius = rng.uniform(*_RADII[count])
            edge = radius * _REACH + _MARGIN
            x, y = rng.uniform(edge, wide - edge), rng.uniform(edge, high - edge)
            if all(math.hypot(x - a, y - b) > _REACH * (radius + r) + _MARGIN for a, b, r in found):
                found.append((x, y, radius))
        if len(found) == count:
            return [(x / wide, y / high, radius) for x, y, radius in found]


def _outline(rng: Random) -> tuple[Point, ...]:
    if rng.random() < _KNOWN_OUTLINE:
        # Empty: as the shape's name says.
        return () if rng.random() < 0.5 else _turned(rng)
    if rng.random() < 0.5:
        return _polygon(rng)
    return _pebble(rng)


def _turned(rng: Random) -> tuple[Point, ...]:
    """A known shape, turned and squeezed; a ring becomes a disc."""
    points, _ = contours_of(rng.choice(SHAPES))
    turn, squeeze = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.0)
    sine, cosine = math.sin(turn), math.cos(turn)
    return tuple((x * cosine - y * squeeze * sine, x * sine + y * squeeze * cosine) for x, y in points)


def _polygon(rng: Random) -> tuple[Point, ...]:
    corners = rng.randint(3, 9)
    start = rng.random()
    points = []
    for corner in range(corners):
        turn = 2 * math.pi * (start + (corner + rng.uniform(-0.3, 0.3)) / corners)
        far = rng.uniform(0.5, 1.0) if corners > 4 else rng.uniform(0.8, 1.0)
        points.append((far * math.cos(turn), far * math.sin(turn)))
    return tuple(points)


def _pebble(rng: Random) -> tuple[Point, ...]:
    """A smooth closed line: three waves around a circle."""
    waves = [(n, rng.uniform(0, 0.35 / n), rng.uniform(0, 2 * math.pi)) for n in (2, 3, 5)]
    far = [
        1 + sum(high * math.cos(n * 2 * math.pi * k / 64 + shift) for n, high, shift in waves)
        for k in range(64)
    ]
    most = max(far)
    return tuple(
        (r / most * math.cos(2 * math.pi * k / 64), r / most * math.sin(2 * math.pi * k / 64))
        for k, r in enumerate(far)
    )
