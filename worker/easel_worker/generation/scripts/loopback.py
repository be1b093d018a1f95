"""Loopback: each result is the next one's init image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from easel_contract.requests.scripts import Loopback
from easel_worker.generation.job import Job
from easel_worker.generation.result import Generate, Result
from easel_worker.generation.scripts.sources import source_of
from easel_worker.imaging.inpainting import MaskedContent

CURVES: dict[str, Callable[[float], float]] = {
    "aggressive": lambda share: math.sin(share * math.pi / 2),
    "linear": lambda share: share,
    "lazy": lambda share: 1 - math.cos(share * math.pi / 2),
}
"""How the way from the first to the last denoising strength is walked: share of the loops -> of the way."""


def loopback(script: Loopback, job: Job, generate: Generate) -> Result:
    """Render `script.loops` times for each batch of the job, every loop from what the last one drew.

    The strength follows the curve from the job's own to the final one; seeds go on from loop to loop and from
    batch to batch. Under a mask only the first loop begins with the job's masked content: the others would
    lose what was drawn. Pictures come out in the order in which they were drawn.
    """
    result = Result([])
    drawn_before = 0
    first = job.pictures[0]
    told = {
        "Final denoising strength": script.final_denoising_strength,
        "Denoising strength curve": script.curve.capitalize(),
        "Script": "Loopback",
    }
    for batch in job.batches:
        source = source_of(job)
        for loop in range(script.loops):
            pictures = [
                replace(picture, seed=first.seed + number, subseed=first.subseed + number)
                for number, picture in enumerate(batch, start=drawn_before)
            ]
            drawn = generate(
                replace(
                    job.with_pictures(pictures),
                    source=source,
                    denoising_strength=strength(script, job.denoising_strength, loop),
                )
            )
            drawn_before += len(batch)
            result.shots += [replace(shot, facts={**shot.facts, **told}) for shot in drawn.shots]
            result.extras += drawn.extras
            result.show(drawn.maps)
            if drawn.interrupted:
                return result
            source = replace(
                source,
                images=tuple(shot.image for shot in drawn.shots),
                fields=replace(source.fields, content=MaskedContent.ORIGINAL),
            )
    return result


def strengths(script: Loopback, first: float) -> list[float]:
    """The denoising strength of every loop."""
    return [strength(script, first, loop) for loop in range(script.loops)]


def strength(script: Loopback, first: float, loop: int) -> float:
    """The denoising strength of a loop, from `first` in loop 0 to the script's final one in the last."""
    if script.loops == 1:
        return first
    way = CURVES[script.curve](loop / (script.loops - 1))
    return first + way * (script.final_denoising_strength - first)
