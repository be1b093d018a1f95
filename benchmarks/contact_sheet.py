"""Every sampler on the shipped model, side by side.

    python benchmarks/contact_sheet.py --write docs/samplers.png

Same prompts, seeds, guidance and number of steps for all, each with its own schedule. Takes a minute on a
CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import easel_shapes
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.samplers.registry import SAMPLERS
from easel_worker.generation import drawing

PROMPTS = ("a red circle on a blue background", "a green star on a yellow background")
SEED = 4
STEPS = 20
CFG_SCALE = 5.0
SIDE = 128  # pixels, as the model was trained
COLUMNS = 4
LABEL_HEIGHT = 20
GAP = 8


def draw(checkpoint: Checkpoint, sampler: str) -> NDArray[np.uint8]:
    """The pictures of one sampler, beside each other."""
    pictures = [
        drawing.draw(
            checkpoint,
            prompt,
            seeds=(SEED,),
            steps=STEPS,
            cfg_scale=CFG_SCALE,
            width=SIDE,
            height=SIDE,
            sampler=sampler,
        )[0]
        for prompt in PROMPTS
    ]
    return np.concatenate(pictures, axis=1)


def contact_sheet(checkpoint: Checkpoint) -> Image.Image:
    """A grid of all samplers in the order of `GET /sdapi/v1/samplers`, each with its name below."""
    cell = (SIDE * len(PROMPTS) + GAP, SIDE + LABEL_HEIGHT + GAP)
    rows = -(-len(SAMPLERS) // COLUMNS)
    sheet = Image.new("RGB", (cell[0] * COLUMNS + GAP, cell[1] * rows + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for i, name in enumerate(SAMPLERS):
        left, top = GAP + cell[0] * (i % COLUMNS), GAP + cell[1] * (i // COLUMNS)
        sheet.paste(Image.fromarray(draw(checkpoint, name)), (left, top))
        pen.text((left + 2, top + SIDE + 2), name, fill="black", font=font)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, required=True, help="the PNG to write")
    target: Path = parser.parse_args().write
    folder = Path(easel_shapes.__file__).parent / "model"
    checkpoint = load_checkpoint(folder, device=torch.device("cpu"), dtype=torch.float32)
    contact_sheet(checkpoint).save(target, optimize=True)


if __name__ == "__main__":
    main()
