"""`python -m easel_shapes.recipe.fit_previews`: the matrix by which the model's latents are previewed.

The VAE's latents are whitened, so the matrices known for Stable Diffusion's own do not fit them. The fit is
of drawings that nobody trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from easel_shapes import model_folder
from easel_shapes.recipe.data import scene_stream
from easel_shapes.recipe.drawing import draw_scene
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.latent_rgb import FILE, LatentRgb, fit_latent_rgb, write_latent_rgb

SEED = 20_260
SIDE = 128


@torch.inference_mode()
def fit(checkpoint: Checkpoint, pictures: int) -> LatentRgb:
    """Encode that many drawings and fit their latents to them, averaged down to the latents' size."""
    scenes = islice(scene_stream(SEED, SIDE, SIDE), pictures)
    drawn = torch.from_numpy(np.stack([draw_scene(scene) for scene in scenes])).permute(0, 3, 1, 2)
    colours = drawn.to(checkpoint.device, checkpoint.dtype) / 127.5 - 1
    latents = torch.cat([checkpoint.vae.encode(batch).latent_dist.mean for batch in torch.split(colours, 16)])
    factor = SIDE // latents.shape[-1]
    return fit_latent_rgb(latents * checkpoint.scaling_factor, avg_pool2d(colours, factor))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and store it beside the VAE's weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=model_folder(), help="a diffusers folder")
    parser.add_argument("--pictures", type=int, default=256)
    options = parser.parse_args(arguments)
    checkpoint = load_checkpoint(options.model, device=torch.device("cpu"), dtype=torch.float32)
    fitted = fit(checkpoint, options.pictures)
    write_latent_rgb(options.model / "vae" / FILE, fitted)
    print(fitted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
