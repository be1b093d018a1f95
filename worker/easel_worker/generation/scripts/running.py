"""From a request and its script to the work that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest
from easel_contract.requests.scripts import (
    Loopback,
    OutpaintingMk2,
    PoorMansOutpainting,
    PromptMatrix,
    PromptsFromFile,
    SDUpscale,
    XYZPlot,
)
from easel_worker.generation.job import Job
from easel_worker.generation.process import batches_of, generate, passes_of
from easel_worker.generation.result import Result
from easel_worker.generation.scripts.limits import check_count
from easel_worker.generation.scripts.lines import jobs_of
from easel_worker.generation.scripts.loopback import loopback
from easel_worker.generation.scripts.matrix import prompt_matrix, vary
from easel_worker.generation.scripts.outpaint import (
    canvas_of,
    margins_of,
    outpainting_mk2,
    poor_mans_outpainting,
)
from easel_worker.generation.scripts.plot import plot_of, xyz_plot
from easel_worker.generation.scripts.upscale import grid_of, sd_upscale
from easel_worker.generation.studio import Studio

JobOf = Callable[[GenerationRequest], Job]
"""Resolves a request that a script made of the client's."""


@dataclass(frozen=True)
class Work:
    """What the torch thread is to do.

    jobs: what is rendered, as far as it is known beforehand. passes: how often a sampler will run. images:
    how many pictures will be made.
    """

    jobs: tuple[Job, ...]
    passes: int
    images: int
    render: Callable[[Studio], Result]


def work_of(request: GenerationRequest, job: Job, job_of: JobOf, limits: Limits) -> Work:
    """What a request asks for, its script included.

    Raises:
        ContractError: 422, the script asks for more than the operator allows, or a value of it is wrong.
    """
    match request.script:
        case None:
            return Work((job,), _passes([job]), len(job.pictures), lambda studio: generate(job, studio))
        case PromptMatrix() as script:
            return _matrix(script, request, vary(script, request, job, job_of, limits))
        case PromptsFromFile() as script:
            jobs = jobs_of(script, request, job_of, limits)
            return _work(jobs, lambda studio: _one_after_the_other(jobs, studio))
        case XYZPlot() as script:
            return _plot(script, request, job_of, limits)
        case Loopback() as script:
            return _loopback(script, job, limits)
        case OutpaintingMk2() | PoorMansOutpainting() as script:
            return _outpainting(script, job, limits)
        case SDUpscale() as script:
            return _upscale(script, job, limits)


def _matrix(script: PromptMatrix, request: GenerationRequest, varied: Job) -> Work:
    return _work([varied], lambda studio: prompt_matrix(script, request, varied, _generate_with(studio)))


def _plot(script: XYZPlot, request: GenerationRequest, job_of: JobOf, limits: Limits) -> Work:
    plot = plot_of(script, request, limits)
    jobs = [job_of(made) for made in plot.requests]
    return _work(jobs, lambda studio: xyz_plot(script, jobs, plot, _generate_with(studio)))


def _loopback(script: Loopback, job: Job, limits: Limits) -> Work:
    images = len(job.pictures) * script.loops
    check_count(images, limits)
    if script.append_interrogation != "none":
        raise ContractError(
            "interrogation between the loops is not supported; use None",
            field="script_args.append_interrogation",
        )
    return Work(
        (job,),
        _passes([job]) * script.loops,
        images,
        lambda studio: loopback(script, job, _generate_with(studio)),
    )


def _outpainting(script: OutpaintingMk2 | PoorMansOutpainting, job: Job, limits: Limits) -> Work:
    added = margins_of(script, job, limits)
    count = len(job.pictures)
    if isinstance(script, PoorMansOutpainting):
        tiled, canvas = script, canvas_of(script, job, added, limits)
        return Work(
            (job,),
            count * len(canvas.runs),
            count,
            lambda studio: poor_mans_outpainting(tiled, job, canvas, _generate_with(studio)),
        )
    sided = script
    return Work(
        (job,),
        count * len(added.steps()),
        count,
        lambda studio: outpainting_mk2(sided, job, added, _generate_with(studio)),
    )


def _upscale(script: SDUpscale, job: Job, limits: Limits) -> Work:
    grid = grid_of(script, job, limits)
    runs = len(job.batches)
    tiles = -(-grid.count // job.batch_size)
    return Work(
        (job,),
        tiles * runs,
        runs,
        lambda studio: sd_upscale(
            script, job, grid, studio.upscaler(script.upscaler_name), _generate_with(studio)
        ),
    )


def _work(jobs: Sequence[Job], render: Callable[[Studio], Result]) -> Work:
    return Work(tuple(jobs), _passes(jobs), sum(len(one.pictures) for one in jobs), render)


def _generate_with(studio: Studio) -> Callable[[Job], Result]:
    return lambda job: generate(job, studio)


def _one_after_the_other(jobs: Sequence[Job], studio: Studio) -> Result:
    result = Result([])
    for job in jobs:
        made = generate(job, studio)
        result.shots += made.shots
        result.extras += made.extras
        result.show(made.maps)
        if made.interrupted:
            break
    return result


def _passes(jobs: Sequence[Job]) -> int:
    return sum(len(list(batches_of(job))) * passes_of(job) for job in jobs)
