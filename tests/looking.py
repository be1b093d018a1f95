"""What is to be seen in a picture of the shipped model: for tests that ask "is it a red circle on blue?"."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Thing:
    """One shape: the words for it, and the part of the picture that it covers."""

    shape: str
    colour: str
    position: str
    area: float


@dataclass(frozen=True)
class Sight:
    """The background's colour, and the shapes from left to right."""

    background: str
    things: tuple[Thing, ...]

    @property
    def main(self) -> Thing:
        """The largest shape."""
        assert self.things, f"nothing but a {self.background} background"
        return max(self.things, key=lambda thing: thing.area)

    @property
    def words(self) -> str:
        """The picture in one line: "red circle on blue", "green star, yellow heart on black"."""
        things = ", ".join(f"{thing.colour} {thing.shape}" for thing in self.things)
        return f"{things or 'nothing'} on {self.background}"


def look(picture: str | bytes | Image.Image | np.ndarray) -> Sight:
    """Read a picture: base64 text as answers hold it, a file's bytes, or pixels (height, width, 3).

    Backgrounds, colours and places are plain statistics; shapes are named by the shipped judge, which was
    trained on drawings and never saw a picture of the model.
    """
    from easel_shapes.recipe.classifier import classify
    from easel_shapes.recipe.measure import read

    reading = read(pixels_of(picture))
    shapes = classify(_judge(), reading.blobs)
    things = tuple(
        Thing(shape, blob.colour, blob.position, blob.area)
        for shape, blob in zip(shapes, reading.blobs, strict=True)
    )
    return Sight(reading.background, things)


def pixels_of(picture: str | bytes | Image.Image | np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8."""
    if isinstance(picture, str):
        picture = base64.b64decode(picture)
    if isinstance(picture, bytes):
        picture = Image.open(io.BytesIO(picture))
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    return picture


@cache
def _judge() -> Any:
    from easel_shapes.recipe.classifier import load_classifier

    return load_classifier()
