"""What scripts of img2img rely on."""

from __future__ import annotations

from easel_worker.generation.job import Job, Source


def source_of(job: Job) -> Source:
    """The job's source. Raises `ValueError` for a txt2img job, which the request's check has refused."""
    if job.source is None:
        raise ValueError("this script needs an init image")
    return job.source
