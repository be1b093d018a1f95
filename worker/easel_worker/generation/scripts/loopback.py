"""Loopback: each result is the next one's init image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from easel_contract.requests.scripts import Loopback
from easel_worker.generation.job import Job
from easel_worker.generation.result import Generate, Result, Shot
from easel_worker.generation.scripts.sources import source_of

CURVES: dict[str, Callable[[float], float]] = {
    "aggressive": lambda share: math.sin(share * math.pi / 2),
    "linear": lambda share: share,
    "lazy": lambda share: 1 - math.cos(share * math.pi / 2),
}
"""How the way from the first to the last denoising strength is walked: share of the loops -> of the way."""


def loopback(script: Loopback, job: Job, generate: Generate) -> Result:
    """Render `script.loops` times for each batch of the job, every loop from what the last one drew.

    Loop k (from 0) of a batch has the batch's seeds + k, and the strength on the curve from the job's own to
    the final one. Pictures come out in the order in which they were drawn.
    """
    shots: list[Shot] = []
    for batch in job.batches:
        source = source_of(job)
        for loop in range(script.loops):
            pictures = [
                replace(picture, seed=picture.seed + loop, subseed=picture.subseed + loop)
                for picture in batch
            ]
            drawn = generate(
                replace(
                    job.with_pictures(pictures),
                    source=source,
                    denoising_strength=strength(script, job.denoising_strength, loop),
                )
            )
            shots += drawn.shots
            if len(drawn.shots) < len(batch):  # interrupted
                return Result(shots)
            source = replace(source, images=tuple(shot.image for shot in drawn.shots))
    return Result(shots)


def strength(script: Loopback, first: float, loop: int) -> float:
    """The denoising strength of a loop, from `first` in loop 0 to the script's final one in the last."""
    if script.loops == 1:
        return first
    way = CURVES[script.curve](loop / (script.loops - 1))
    return first + way * (script.final_denoising_strength - first)
