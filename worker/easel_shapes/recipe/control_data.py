"""What the ControlNet learns from: pictures as latents, their outlines, and captions that tell little."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
import torch

from easel_shapes.recipe import sitting
from easel_shapes.recipe.base import Base
from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.drawing import Item, Scene, draw_scene
from easel_shapes.recipe.edges import outline_for_training
from easel_shapes.recipe.freehand import control_scene
from easel_shapes.recipe.train_vae import encode
from easel_shapes.recipe.words import POSITIONS, SHAPES

# (width, height) -> how many of 100 pictures, and of 100 steps, have that size.
SIZES = MappingProxyType(
    {
        (128, 128): 82,
        (96, 96): 3,
        (128, 192): 4,
        (192, 128): 4,
        (192, 192): 4,
        (256, 256): 3,
    }
)
# How the captions of 100 pictures relate to them. Words that fit would let the prompt tell what the outline
# should; words that contradict it teach that the outline is right.
_WORDINGS = MappingProxyType({"none": 15, "colours": 40, "wrong": 25, "right": 20})
_NEUTRAL_ONE = ("{} on {}", "{}, {} background", "a {} shape on a {} background", "{} on a {} background")
_NEUTRAL_MORE = ("{} on {}", "{}, {} background", "{} shapes on a {} background", "{} on a {} background")


@dataclasses.dataclass(frozen=True)
class ControlPool:
    """Pictures of one size. `latents`: (n, 4, h/8, w/8); `contexts`: the encoded captions, (n, 77, width)
    bfloat16; `outlines`: (n, h, w) uint8, 0 or 255."""

    latents: torch.Tensor
    contexts: torch.Tensor
    outlines: torch.Tensor


def control_caption(scene: Scene, rng: Random) -> str:
    """A caption that is empty, tells colours only, names other shapes and places, or is right."""
    wording = rng.choices(list(_WORDINGS), weights=list(_WORDINGS.values()))[0]
    if wording == "none":
        return ""
    if wording == "right" and not any(item.outline for item in scene.items):
        return caption(scene, rng)
    if wording == "wrong":
        items = tuple(_mistaken(item, rng) for item in scene.items)
        layout = {1: "single", 2: "row", 3: "three"}[len(items)]
        return caption(dataclasses.replace(scene, items=items, layout=layout), rng)
    colours = " and ".join(dict.fromkeys(item.colour for item in scene.items))
    return rng.choice(_NEUTRAL_ONE if len(scene.items) == 1 else _NEUTRAL_MORE).format(
        colours, scene.background
    )


def load_or_draw(
    folder: Path, base: Base, seed: int, count: int, device: torch.device
) -> dict[tuple[int, int], ControlPool]:
    """About `count` pictures, shared out over the sizes, at least 8 of each; `folder` keeps them.

    Every picture has one caption, which is encoded once: reading captions would take a seventh of a step.
    """
    pools = {}
    for (width, height), share in SIZES.items():
        rng = Random(f"control {seed} {width}x{height}")  # noqa: S311 - drawings are no secrets
        scenes = [control_scene(rng, width, height) for _ in range(max(8, count * share // 100))]
        path = folder / f"control-{_key(width, height, scenes)}.pt"
        kept = sitting.load(path, torch.device("cpu"))
        if kept is None:
            kept = _draw(scenes, base, rng, device)
            sitting.save(path, kept)
        pools[width, height] = ControlPool(**kept)
    return pools


def _draw(scenes: list[Scene], base: Base, rng: Random, device: torch.device) -> dict[str, torch.Tensor]:
    latents, contexts, outlines = [], [], []
    for first in range(0, len(scenes), 64):
        some = scenes[first : first + 64]
        pictures = np.stack([draw_scene(scene) for scene in some])
        latents.append(encode(base.vae, pictures, device))
        with torch.inference_mode():
            captions = [control_caption(scene, rng) for scene in some]
            contexts.append(base.read(captions).bfloat16().cpu())
        outlines += [
            outline_for_training(scene, picture, rng) for scene, picture in zip(some, pictures, strict=True)
        ]
    return {
        "latents": torch.cat(latents),
        "contexts": torch.cat(contexts),
        "outlines": torch.from_numpy(np.stack(outlines)),
    }


def _key(width: int, height: int, scenes: list[Scene]) -> str:
    """A file name's part that is another for other scenes."""
    digest = hashlib.sha256(repr(scenes).encode()).hexdigest()[:10]
    return f"{width}x{height}-{len(scenes)}-{digest}"


def _mistaken(item: Item, rng: Random) -> Item:
    shape = rng.choice([shape for shape in SHAPES if shape != item.shape])
    return dataclasses.replace(item, shape=shape, outline=(), position=rng.choice(list(POSITIONS)))


class ControlBatches:
    """Batches of one size at a time, as often as `SIZES` says; `area`: latent places in a batch."""

    def __init__(self, pools: dict[tuple[int, int], ControlPool], rng: Random, *, area: int) -> None:
        self._pools, self._rng, self._area = pools, rng, area
        self._decks: dict[tuple[int, int], list[int]] = {size: [] for size in pools}

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(latents, contexts, control images (n, 3, h, w) of 0 and 1)."""
        size = self._rng.choices(list(self._pools), weights=[SIZES[size] for size in self._pools])[0]
        pool, deck = self._pools[size], self._decks[size]
        count = max(1, self._area // (size[0] * size[1] // 64))
        while len(deck) < count:  # every picture once before any comes again
            fresh = [*range(len(pool.latents))]
            self._rng.shuffle(fresh)
            deck[:0] = fresh
        picked = [deck.pop() for _ in range(count)]
        hints = (pool.outlines[picked].float() / 255)[:, None].expand(-1, 3, -1, -1)
        return pool.latents[picked], pool.contexts[picked], hints
