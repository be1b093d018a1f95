"""Control images: the outlines of a drawing, white on black, as the canny preprocessor gives them."""

from __future__ import annotations

import dataclasses
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from easel_shapes.recipe.drawing import Scene, draw_scene

LOW, HIGH = 100, 200  # the preprocessor's own thresholds
_FROM_COLOURS = 0.75  # of the training's outlines are those of the coloured drawing, the rest of its mask
_THICK = 0.2  # are drawn with a thicker pen than canny's


def canny(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The edges of a (height, width, 3) RGB picture: (height, width), 0 or 255."""
    return np.asarray(cv2.Canny(picture, LOW, HIGH), dtype=np.uint8)


def in_white(scene: Scene) -> Scene:
    """The same shapes white on black."""
    items = tuple(dataclasses.replace(item, colour="white") for item in scene.items)
    return dataclasses.replace(scene, background="black", items=items)


def outline_for_training(scene: Scene, picture: NDArray[np.uint8], rng: Random) -> NDArray[np.uint8]:
    """A control image for `picture`, which shows `scene`: (height, width), 0 or 255.

    Colours that lie near each other have no edge to canny; then the outline of the shapes is taken, as a hand
    would draw it.
    """
    edges = canny(picture) if rng.random() < _FROM_COLOURS else None
    if edges is None or not edges.any():
        edges = canny(draw_scene(in_white(scene)))
    if rng.random() < _THICK:
        side = rng.choice((2, 3))
        edges = np.asarray(cv2.dilate(edges, np.ones((side, side), np.uint8)), dtype=np.uint8)
    return edges
