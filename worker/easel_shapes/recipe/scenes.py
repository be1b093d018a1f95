"""Random scenes, and which combinations training never sees."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from random import Random
from types import MappingProxyType

from easel_shapes.recipe.drawing import Item, Scene, stripe_colour
from easel_shapes.recipe.words import COLOURS, POSITIONS, SHAPES, SIZE_RADII

_JITTER = 0.015  # of a shape's centre, in parts of the sides
_EDGE = 0.235  # largest radius of a shape away from the centre, so that it stays inside the picture
_HELD_OUT_EVERY = 16
_STRIPES_APART = 75.0  # least Euclidean RGB distance between stripes and background
# How often each kind of scene is drawn. Single shapes are what people ask for most and what the other kinds
# build on; which colour belongs to which of two shapes is the hardest to learn.
_KINDS = MappingProxyType({"single": 0.42, "pair": 0.32, "same": 0.15, "mixed": 0.11})
_FILLS = MappingProxyType({"plain": 0.8, "striped": 0.1, "outlined": 0.1})
_SIZES = MappingProxyType({"small": 0.15, "medium": 0.45, "large": 0.4})
_SLOTS: MappingProxyType[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "row": ((0.27, 0.5), (0.73, 0.5)),
        "column": ((0.5, 0.27), (0.5, 0.73)),
        "three": ((0.27, 0.3), (0.73, 0.3), (0.5, 0.73)),
    }
)
_SLOT_RADII = MappingProxyType({"row": (0.17, 0.205), "column": (0.17, 0.205), "three": (0.16, 0.195)})
_ROW_WORDS = MappingProxyType({"row": ("left", "right"), "column": ("top", "bottom"), "three": ("", "", "")})


def is_held_out(shape: str, colour: str, background: str) -> bool:
    """Whether this combination is kept for the evaluation; one in sixteen, the same ones on every machine."""
    return zlib.crc32(f"{colour} {shape} {background}".encode()) % _HELD_OUT_EVERY == 0


def held_out_combinations() -> list[tuple[str, str, str]]:
    """Every (shape, colour, background) that training never draws."""
    return [
        (shape, colour, background)
        for shape in SHAPES
        for colour in COLOURS
        for background in COLOURS
        if background != colour and is_held_out(shape, colour, background)
    ]


def is_plain_to_see(scene: Scene) -> bool:
    """Whether no shape's stripes run into the background: light green ones on gray cut a shape to pieces."""
    ground = COLOURS[scene.background]
    return all(
        item.fill != "striped" or _distance(ground, COLOURS[item.colour]) >= _STRIPES_APART
        for item in scene.items
    )


def _distance(ground: tuple[int, int, int], colour: tuple[int, int, int]) -> float:
    """From the background to the nearest mixture of a colour and its stripes': these lie on the edges."""
    stripe = stripe_colour(colour)
    return min(
        math.dist(ground, [a + (b - a) * part / 8 for a, b in zip(colour, stripe, strict=True)])
        for part in range(9)
    )


def random_scene(rng: Random, width: int = 128, height: int = 128) -> Scene:
    """A scene for training, without any held-out combination."""
    while True:
        scene = _any_scene(rng, width, height)
        unseen = any(is_held_out(item.shape, item.colour, scene.background) for item in scene.items)
        if not unseen and is_plain_to_see(scene):
            return scene


def single_scene(
    rng: Random,
    shape: str,
    colour: str,
    background: str,
    *,
    fill: str = "plain",
    size: str | None = None,
    position: str | None = None,
    width: int = 128,
    height: int = 128,
) -> Scene:
    """One shape. Left out, `size` and `position` are drawn; away from the centre, nothing is large."""
    if position is None:
        position = "centre" if rng.random() < 0.5 else rng.choice(list(POSITIONS))
    if size is None:
        size = _weighted(rng, _SIZES)
    if size == "large" and position != "centre":
        size = "medium"
    x, y = POSITIONS[position]
    radius = rng.uniform(*SIZE_RADII[size])
    if position != "centre":
        radius = min(radius, _EDGE)
    item = Item(
        shape=shape,
        colour=colour,
        x=x + rng.uniform(-_JITTER, _JITTER),
        y=y + rng.uniform(-_JITTER, _JITTER),
        radius=radius,
        fill=fill,
        size=size,
        position=position,
    )
    return Scene(width, height, background, (item,))


def group_scene(
    rng: Random,
    kinds: Sequence[tuple[str, str]],
    background: str,
    *,
    layout: str,
    fill: str = "plain",
    width: int = 128,
    height: int = 128,
) -> Scene:
    """Two or three shapes, given as (shape, colour), on the layout's places in reading order."""
    radius = rng.uniform(*_SLOT_RADII[layout])
    items = tuple(
        Item(
            shape=shape,
            colour=colour,
            x=x + rng.uniform(-_JITTER, _JITTER),
            y=y + rng.uniform(-_JITTER, _JITTER),
            radius=radius,
            fill=fill,
            position=word,
        )
        for (shape, colour), (x, y), word in zip(kinds, _SLOTS[layout], _ROW_WORDS[layout], strict=True)
    )
    return Scene(width, height, background, items, layout)


def _any_scene(rng: Random, width: int, height: int) -> Scene:
    kind, fill = _weighted(rng, _KINDS), _weighted(rng, _FILLS)
    background = rng.choice(list(COLOURS))
    colours = [colour for colour in COLOURS if colour != background]
    first, second = rng.sample(SHAPES, 2)
    colour, other = rng.sample(colours, 2)
    if kind == "single":
        return single_scene(rng, first, colour, background, fill=fill, width=width, height=height)
    layout = rng.choice(("row", "row", "row", "column"))
    if kind == "pair":
        # Sometimes only the shape or only the colour tells the two apart.
        if rng.random() < 0.15:
            other = colour
        kinds = [(first, colour), (second, other)]
    elif kind == "same":
        count = rng.choice((2, 3))
        layout = "three" if count == 3 else layout
        kinds = [(first, colour)] * count
    else:
        layout = "three"
        kinds = [(first, colour), (first, colour), (second, other)]
    return group_scene(rng, kinds, background, layout=layout, fill=fill, width=width, height=height)


def _weighted(rng: Random, weights: MappingProxyType[str, float]) -> str:
    return rng.choices(list(weights), weights=list(weights.values()))[0]
