"""Prompt matrix: a picture for every combination of the parts that ``|`` separates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest
from easel_contract.requests.scripts import PromptMatrix
from easel_worker.generation.job import Job
from easel_worker.generation.result import Generate, Result
from easel_worker.generation.scripts.grids import lay_out
from easel_worker.generation.scripts.limits import check_count
from easel_worker.imaging.captions import Caption, annotate

SEPARATORS = {"comma": ", ", "space": " "}


def combinations(prompt: str, *, separator: str, put_at_start: bool) -> list[str]:
    """Every prompt of a matrix. Part 0 is in all; combination i has the others whose bits are set in i.

    The fixed part comes first, or last with `put_at_start`.
    """
    fixed, *parts = split_matrix(prompt)
    found = []
    for number in range(2 ** len(parts)):
        chosen = [part for bit, part in enumerate(parts) if number >> bit & 1]
        found.append(separator.join([*chosen, fixed] if put_at_start else [fixed, *chosen]))
    return found


def split_matrix(prompt: str) -> list[str]:
    """The parts of a matrix, the fixed one first."""
    return [part.strip(" ,") for part in prompt.split("|")]


def vary(
    script: PromptMatrix,
    request: GenerationRequest,
    job: Job,
    job_of: Callable[[GenerationRequest], Job],
    limits: Limits,
) -> Job:
    """The request's job with all combinations as its pictures, with one seed or consecutive ones.

    The request's own text is taken apart: styles join each combination afterwards.

    Raises:
        ContractError: 422, more combinations than the operator allows.
    """
    name = _varied(script)
    text: str = getattr(request, name)
    check_count(2 ** min(text.count("|"), 64), limits)
    prompts = combinations(text, separator=SEPARATORS[script.separator], put_at_start=script.put_at_start)
    first = job.pictures[0]
    pictures = [job_of(request.model_copy(update={name: prompt})).pictures[0] for prompt in prompts]
    return job.with_pictures(
        replace(picture, seed=first.seed + i * script.different_seeds, subseed=first.subseed)
        for i, picture in enumerate(pictures)
    )


def prompt_matrix(
    script: PromptMatrix, request: GenerationRequest, varied: Job, generate: Generate
) -> Result:
    """Render all combinations, and show them in a grid with the parts as its captions."""
    result = generate(varied)
    images = [shot.image for shot in result.shots]
    if len(images) == len(varied.pictures) > 1:
        parts = split_matrix(getattr(request, _varied(script)))[1:]
        result.grids.append(_grid(images, parts, script.margin))
    return result


def _varied(script: PromptMatrix) -> str:
    return "prompt" if script.prompt_type == "positive" else "negative_prompt"


def _grid(images: Sequence[Image.Image], parts: Sequence[str], margin: int) -> Image.Image:
    """Combination i stands in row i // columns: the first half of the parts varies along a row."""
    across = parts[: (len(parts) + 1) // 2]
    down = parts[len(across) :]
    grid, cell = lay_out(images, columns=2 ** len(across))
    return annotate(grid, cell, _captions(across), _captions(down), margin)


def _captions(parts: Sequence[str]) -> list[list[Caption]]:
    """For every combination of the parts, each part: grey where it is not taken."""
    return [
        [Caption(part, active=bool(number >> bit & 1)) for bit, part in enumerate(parts)]
        for number in range(2 ** len(parts))
    ]
