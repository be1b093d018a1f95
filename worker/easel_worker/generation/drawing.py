"""Pictures drawn in this process, by the way that requests take but without a queue: for the recipe of the
shipped model, benchmarks and tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from easel_contract.checkpoints import ModelFile
from easel_contract.options import RenderOptions
from easel_contract.samplers import resolve
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.generation.job import Job, Picture, Steps
from easel_worker.generation.process import generate
from easel_worker.generation.studio import QuietWatch, Studio, Watch
from easel_worker.imaging.resize import Upscaler


def draw(
    checkpoint: Checkpoint,
    prompt: str,
    *,
    negative_prompt: str = "",
    seeds: Sequence[int] = (0,),
    steps: int = 20,
    cfg_scale: float = 7.0,
    width: int = 512,
    height: int = 512,
    sampler: str = "Euler",
    scheduler: str = "automatic",
    watch: Watch | None = None,
    **options: Any,
) -> NDArray[np.uint8]:
    """txt2img: RGB pictures of one batch, (len(seeds), height, width, 3), one per seed.

    Args:
        width: Pixels; sides are rounded down to multiples of 8.
        watch: Hears of every step; what it raises stops the drawing and comes out of here.
        options: A1111's, by name: ``CLIP_stop_at_last_layers=2``.

    Raises:
        ContractError: an unknown sampler or scheduler.
        JobError: what cannot be drawn, such as 0 steps.
        NanError: the model overflowed.
    """
    job = Job(
        model=ModelFile(checkpoint.name, checkpoint.path, (0, 0)),
        pictures=tuple(Picture(prompt, negative_prompt, seed, seed) for seed in seeds),
        batch_size=len(seeds),
        width=width,
        height=height,
        steps=Steps(resolve(sampler, scheduler), steps, cfg_scale),
        options=RenderOptions(**options),
    )
    studio = Studio(lambda model: checkpoint, _no_upscaler, _no_restorer, watch or QuietWatch())
    return np.stack([np.asarray(shot.image) for shot in generate(job, studio).shots])


def _no_upscaler(name: str) -> Upscaler:
    raise AssertionError(f"txt2img in one pass asked for the upscaler {name!r}")


def _no_restorer(picture: Image.Image, name: str, weight: float) -> Image.Image:
    raise AssertionError(f"the face restorer {name!r} was not asked for")
