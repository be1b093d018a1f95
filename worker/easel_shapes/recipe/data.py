"""The training data: an endless seeded stream of scenes, and pictures of them in memory, by size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from easel_shapes.recipe.drawing import Scene, draw_scene
from easel_shapes.recipe.scenes import random_scene

# (width, height), how many of 100 pictures have that size, how many of 100 steps train on it. Mostly the
# native size; the others teach that the scene fills the frame, whatever the frame is. A step on large
# pictures has few of them, so the largest gets more steps than pictures.
SIZES: tuple[tuple[tuple[int, int], int, int], ...] = (
    ((128, 128), 62, 50),
    ((96, 96), 6, 5),
    ((160, 160), 6, 7),
    ((192, 192), 5, 8),
    ((256, 256), 7, 16),
    ((96, 128), 4, 3),
    ((128, 96), 4, 3),
    ((128, 192), 3, 4),
    ((192, 128), 3, 4),
)
STEP_SHARES = MappingProxyType({size: steps for size, _, steps in SIZES})


@dataclass(frozen=True)
class Pool:
    """Pictures of one size: `scenes[i]` is drawn in `pictures[i]`, (count, height, width, 3) uint8."""

    width: int
    height: int
    scenes: list[Scene]
    pictures: NDArray[np.uint8]

    @property
    def key(self) -> str:
        """A file name's part that is another for other pictures."""
        return _key(self.width, self.height, self.scenes)


def _key(width: int, height: int, scenes: Sequence[Scene]) -> str:
    """Also another when the code that makes up scenes has changed: then what was drawn before is stale."""
    digest = hashlib.sha256(repr(scenes).encode()).hexdigest()[:10]
    return f"{width}x{height}-{len(scenes)}-{digest}"


def scene_stream(seed: int, width: int, height: int) -> Iterator[Scene]:
    """Training scenes without end; the same seed and size give the same scenes."""
    rng = Random(f"{seed} {width}x{height}")  # noqa: S311 - drawings are no secrets
    while True:
        yield random_scene(rng, width, height)


def draw_pool(seed: int, width: int, height: int, count: int) -> Pool:
    """`count` pictures of one size."""
    stream = scene_stream(seed, width, height)
    scenes = [next(stream) for _ in range(count)]
    pictures = np.empty((count, height, width, 3), dtype=np.uint8)
    for index, scene in enumerate(scenes):
        pictures[index] = draw_scene(scene)
    return Pool(width, height, scenes, pictures)


def load_or_draw(folder: Path, seed: int, count: int) -> list[Pool]:
    """About `count` pictures, shared out over the sizes, at least 8 of each; `folder` keeps them."""
    return [
        _load_or_draw(folder, seed, width, height, max(8, count * share // 100))
        for (width, height), share, _ in SIZES
    ]


def _load_or_draw(folder: Path, seed: int, width: int, height: int, count: int) -> Pool:
    stream = scene_stream(seed, width, height)
    scenes = [next(stream) for _ in range(count)]
    path = folder / f"pictures-{_key(width, height, scenes)}.npy"
    if path.is_file():
        return Pool(width, height, scenes, np.load(path))
    pool = draw_pool(seed, width, height, count)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, pool.pictures)
    part.replace(path)
    return pool
