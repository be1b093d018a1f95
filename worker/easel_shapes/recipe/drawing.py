"""Scenes and their pictures: flat shapes with anti-aliased edges, drawn with Pillow.

A `Scene` says everything that is in the picture; captions and the judge read it as the ground truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from easel_shapes.recipe.words import COLOURS

_SUPERSAMPLE = 4  # masks are drawn this many times larger, then averaged down
_CURVE_POINTS = 96
_STROKE = 0.17  # of an outline, in radii
_STRIPE = 0.42  # period of the stripes, in radii
_LIGHT = 140.0  # luma above which stripes darken the colour instead of lightening it

Point = tuple[float, float]
Contours = tuple[list[Point], list[list[Point]]]


@dataclass(frozen=True)
class Item:
    """One shape. `x`, `y`: its centre in parts of the width and height.

    `radius` is in parts of the shorter side; `size` and `position` are the words for the item, "" where
    no word fits. `outline`: points drawn in place of the shape's own, in radii around the centre.
    """

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    fill: str = "plain"
    size: str = ""
    position: str = ""
    outline: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A picture to be drawn: `width` and `height` in pixels, a background colour's name, one to three items.

    `layout` is "single", "row", "column" or "three".
    """

    width: int
    height: int
    background: str
    items: tuple[Item, ...]
    layout: str = "single"


def draw_scene(scene: Scene) -> NDArray[np.uint8]:
    """The scene's picture, (height, width, 3) RGB."""
    canvas = Image.new("RGB", (scene.width, scene.height), COLOURS[scene.background])
    for item in scene.items:
        _draw_item(canvas, item)
    return np.asarray(canvas, dtype=np.uint8)


def _draw_item(canvas: Image.Image, item: Item) -> None:
    width, height = canvas.size
    radius = item.radius * min(width, height)
    centre_x, centre_y = item.x * width, item.y * height
    left, top = math.floor(centre_x - 1.1 * radius) - 1, math.floor(centre_y - 1.1 * radius) - 1
    side = math.ceil(2.2 * radius) + 3
    local: Point = (centre_x - left, centre_y - top)
    contours: Contours = ([*item.outline], []) if item.outline else contours_of(item.shape)
    mask = contour_mask(contours, item.fill, side, local, radius)
    colour = COLOURS[item.colour]
    canvas.paste(Image.new("RGB", mask.size, colour), (left, top), mask)
    if item.fill == "striped":
        stripes = ImageChops.multiply(mask, _stripes(side, local, radius))
        canvas.paste(Image.new("RGB", mask.size, stripe_colour(colour)), (left, top), stripes)


def shape_mask(shape: str, fill: str, side: int, centre: Point, radius: float) -> Image.Image:
    """How much of every pixel a shape covers: mode "L", `side` x `side`; centre and radius in pixels."""
    return contour_mask(contours_of(shape), fill, side, centre, radius)


def contour_mask(contours: Contours, fill: str, side: int, centre: Point, radius: float) -> Image.Image:
    """`shape_mask` of any outline and its holes, in radii around the centre."""
    scale = _SUPERSAMPLE
    solid, holes = contours

    def place(points: Sequence[Point]) -> list[Point]:
        return [((centre[0] + x * radius) * scale, (centre[1] + y * radius) * scale) for x, y in points]

    mask = Image.new("L", (side * scale, side * scale), 0)
    pen = ImageDraw.Draw(mask)
    pen.polygon(place(solid), fill=255)
    for hole in holes:
        pen.polygon(place(hole), fill=0)
    if fill == "outlined":
        lines = Image.new("L", mask.size, 0)
        line_pen = ImageDraw.Draw(lines)
        for contour in (solid, *holes):
            points = place(contour)
            # Half of the line's width lies inside the shape, and only that half is kept.
            width = round(2 * _STROKE * radius * scale)
            line_pen.line([*points, *points[:2]], fill=255, width=width, joint="curve")
        mask = ImageChops.multiply(mask, lines)
    return mask.resize((side, side), Image.Resampling.BOX)


def stripe_colour(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """The second colour of a striped shape: a light tint of a dark colour, a dark shade of a light one."""
    red, green, blue = colour
    light = 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT
    target, amount = (0, 0.45) if light else (255, 0.6)

    def mix(level: int) -> int:
        return round(level + (target - level) * amount)

    return mix(red), mix(green), mix(blue)


def _stripes(side: int, centre: Point, radius: float) -> Image.Image:
    """Horizontal bands over 40 % of the area, in phase with the shape's centre."""
    rows = (np.arange(side * _SUPERSAMPLE) + 0.5) / _SUPERSAMPLE
    phase = ((rows - centre[1]) / (_STRIPE * radius)) % 1.0
    bands = ((phase < 0.4) * 255).reshape(side, _SUPERSAMPLE).mean(axis=1).astype(np.uint8)
    return Image.fromarray(np.repeat(bands[:, None], side, axis=1))


def contours_of(shape: str) -> Contours:
    """A shape's outline and its holes, in radii around its centre, y downwards."""
    if shape == "circle":
        return _ellipse(0, 0, 1), []
    if shape == "square":
        return [(-0.87, -0.87), (0.87, -0.87), (0.87, 0.87), (-0.87, 0.87)], []
    if shape == "triangle":
        return [(0, -0.95), (1.0, 0.78), (-1.0, 0.78)], []
    if shape == "star":
        return [_polar(1.08 if n % 2 == 0 else 0.44, n / 10) for n in range(10)], []
    if shape == "diamond":
        return [(0, -1.06), (0.74, 0), (0, 1.06), (-0.74, 0)], []
    if shape == "cross":
        arm, end = 0.32, 0.98
        quarter = [(arm, -end), (arm, -arm), (end, -arm)]
        return [_turn(point, turns) for turns in range(4) for point in quarter], []
    if shape == "ring":
        return _ellipse(0, 0, 1), [_ellipse(0, 0, 0.52)]
    if shape == "heart":
        return _heart(), []
    if shape == "hexagon":
        return [_polar(1.0, n / 6 + 1 / 12) for n in range(6)], []
    if shape == "crescent":
        return _crescent(), []
    if shape == "arrow":
        return [
            (-0.95, -0.27),
            (0.1, -0.27),
            (0.1, -0.8),
            (1.0, 0),
            (0.1, 0.8),
            (0.1, 0.27),
            (-0.95, 0.27),
        ], []
    raise ValueError(f"shape {shape!r} is unknown")


def _polar(radius: float, turn: float) -> Point:
    """A point at `turn` (0 is up, 0.25 is right)."""
    return radius * math.sin(2 * math.pi * turn), -radius * math.cos(2 * math.pi * turn)


def _turn(point: Point, quarters: int) -> Point:
    x, y = point
    for _ in range(quarters):
        x, y = -y, x
    return x, y


def _ellipse(x: float, y: float, radius: float) -> list[Point]:
    turns = (_polar(radius, n / _CURVE_POINTS) for n in range(_CURVE_POINTS))
    return [(x + dx, y + dy) for dx, dy in turns]


def _heart() -> list[Point]:
    """The usual heart (16 sin^3 t; 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t), scaled to radius 1."""
    points = []
    for n in range(_CURVE_POINTS):
        t = 2 * math.pi * n / _CURVE_POINTS
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((16 * math.sin(t) ** 3 / 16.5, -(y + 2.5) / 15.0))
    return points


def _crescent() -> list[Point]:
    """A unit disc without a disc of radius 0.82 shifted to the right: outer arc, then the inner arc back."""
    shift, inner = 0.5, 0.82
    meet = (1 - inner**2 + shift**2) / (2 * shift)
    outer_from = math.acos(meet)
    inner_from = math.acos((meet - shift) / inner)
    half = _CURVE_POINTS // 2
    points = []
    for n in range(half + 1):
        angle = outer_from + (2 * math.pi - 2 * outer_from) * n / half
        points.append((math.cos(angle) + 0.2, math.sin(angle)))
    for n in range(half + 1):
        angle = 2 * math.pi - inner_from - (2 * math.pi - 2 * inner_from) * n / half
        points.append((shift + inner * math.cos(angle) + 0.2, inner * math.sin(angle)))
    return points
