"""The judge of shapes: a small CNN on the outline of a blob, trained on clean drawings only.

It sees no colour and no place, only a 32 x 32 mask of the blob, so it cannot know what a prompt asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch.nn import functional

from easel_shapes.recipe import measure
from easel_shapes.recipe.drawing import draw_scene, shape_mask
from easel_shapes.recipe.scenes import is_plain_to_see, single_scene
from easel_shapes.recipe.words import COLOURS, FILLS, SHAPES
from easel_worker.diffusion.libraries import load_file, save_file

_SIDE = 32
_MARGIN = 0.08  # around the blob, in parts of its longer side
_BATCH = 64
_RATE = 3e-3
FILE = Path(__file__).parent.parent / "judge" / "shapes.safetensors"


class ShapeNet(torch.nn.Sequential):
    """(n, 1, 32, 32) masks in 0..1 -> (n, shapes) logits."""

    def __init__(self) -> None:
        layers: list[torch.nn.Module] = []
        for before, after in ((1, 12), (12, 24), (24, 48)):
            layers += [
                torch.nn.Conv2d(before, after, 3, padding=1),
                torch.nn.BatchNorm2d(after),
                torch.nn.ReLU(),
                torch.nn.MaxPool2d(2),
            ]
        super().__init__(*layers, torch.nn.Flatten(), torch.nn.Linear(48 * 16, len(SHAPES)))


def cut_out(mask: measure.Mask) -> NDArray[np.float32]:
    """A blob's mask as the network sees it: centred in a square, (32, 32), 0 to 1."""
    top, bottom, left, right = measure.box(mask)
    piece = Image.fromarray(mask[top:bottom, left:right].astype(np.uint8) * 255)
    side = round(max(piece.size) * (1 + 2 * _MARGIN)) + 1
    square = Image.new("L", (side, side), 0)
    square.paste(piece, ((side - piece.width) // 2, (side - piece.height) // 2))
    small = square.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.asarray(np.asarray(small) / 255, dtype=np.float32)


def classify(network: ShapeNet, blobs: Sequence[measure.Blob]) -> list[str]:
    """The shape word of every blob."""
    if not blobs:
        return []
    masks = torch.from_numpy(np.stack([cut_out(blob.mask) for blob in blobs]))[:, None]
    with torch.inference_mode():
        return [SHAPES[int(index)] for index in network(masks).argmax(dim=1)]


def load_classifier(path: Path = FILE) -> ShapeNet:
    """The trained judge, on the CPU; the shipped one unless another file is named."""
    network = ShapeNet()
    network.load_state_dict(load_file(str(path)))
    return network.eval()


def train_classifier(path: Path, *, steps: int, seed: int = 0) -> ShapeNet:
    """Train the judge on drawn masks and write it to `path`."""
    torch.manual_seed(seed)
    rng = Random(seed)  # noqa: S311 - drawings are no secrets
    network = ShapeNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * max(0.02, 1 - step / steps)
        labels = [rng.randrange(len(SHAPES)) for _ in range(_BATCH)]
        masks = np.stack([cut_out(_drawn(rng, SHAPES[label])) for label in labels])
        loss = functional.cross_entropy(network(torch.from_numpy(masks)[:, None]), torch.tensor(labels))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), str(path))
    path.chmod(0o644)  # safetensors makes files that their owner alone can read
    return network.eval()


def accuracy(network: ShapeNet, *, count: int, seed: int) -> float:
    """How often measuring and classifying a clean drawing gives its shape, over drawings never trained on."""
    rng = Random(f"accuracy {seed}")  # noqa: S311 - drawings are no secrets
    right = asked = 0
    while asked < count:
        shape = rng.choice(SHAPES)
        colour, background = rng.sample(list(COLOURS), 2)
        scene = single_scene(rng, shape, colour, background, fill=rng.choice(FILLS))
        if is_plain_to_see(scene):
            asked += 1
            right += classify(network, measure.read(draw_scene(scene)).blobs) == [shape]
    return right / count


def _drawn(rng: Random, shape: str) -> measure.Mask:
    radius = rng.uniform(15, 56)
    side = int(2.4 * radius) + 8
    centre = (side / 2 + rng.uniform(-0.5, 0.5), side / 2 + rng.uniform(-0.5, 0.5))
    fill = "outlined" if rng.random() < 0.2 else "plain"
    mask = shape_mask(shape, fill, side, centre, radius)
    if fill == "plain":
        # Softness of the outline, and a threshold off the middle: what a decoder or a tint does to an edge.
        mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.07) * radius))
    threshold = rng.uniform(90, 165)
    return np.asarray(np.asarray(mask) > threshold)
