"""``GET /sdapi/v1/progress``: A1111's global progress, told from the tasks that run now."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from easel_gateway.gateway import gateway_of
from easel_gateway.sharing import own_tasks
from easel_gateway.tasks.previews import newest_preview
from easel_gateway.tasks.standing import Standing
from easel_queue import Running

router = APIRouter(tags=["A1111"])


class ProgressState(BaseModel):
    """The task that is told of. `job_count`: 0 when nothing runs, -1 while it prepares, then its batches."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressResponse(BaseModel):
    """`progress` is 0 to 1, `eta_relative` seconds, `current_image` base64 without a prefix."""

    progress: float = 0.0
    eta_relative: float = 0.0
    state: ProgressState = ProgressState()
    current_image: str | None = None
    textinfo: str | None = None


@router.get("/sdapi/v1/progress")
async def progress(
    request: Request,
    skip_current_image: bool = False,
    skip_image: Annotated[bool, Query(alias="skipCurrentImage")] = False,
) -> ProgressResponse:
    """Of the caller's task that began first, else of anybody's: then without its picture. For one certain
    task ask `/internal/progress` or `/easel/v1/tasks/<id>`."""
    gateway = gateway_of(request)
    own = own_tasks(request)
    running = await gateway.queue.run(gateway.queue.tasks.running())
    task = next((task for task in running if own.covers(task.user)), running[0] if running else None)
    if task is None:
        return ProgressResponse()
    answer = describe(task)
    if own.covers(task.user) and not (skip_current_image or skip_image):
        preview = await newest_preview(gateway, task.request_id)
        answer.current_image = base64.b64encode(preview.data).decode() if preview else None
    return answer


def describe(task: Running) -> ProgressResponse:
    """A running task in A1111's shape."""
    standing = Standing.of(task.progress)
    elapsed_s = task.elapsed_ms / 1000
    began = datetime.fromtimestamp(task.started_ms / 1000, timezone.utc)
    preparing = standing.job_count < 0
    batch = f"Batch {standing.job_no + 1} out of {standing.job_count}"
    return ProgressResponse(
        progress=standing.progress,
        eta_relative=elapsed_s / standing.progress - elapsed_s,
        state=ProgressState(
            skipped=standing.skipped,
            interrupted=task.interrupted,
            job=_job_name(task) if preparing else batch,
            job_count=standing.job_count,
            job_timestamp=f"{began.astimezone():%Y%m%d%H%M%S}",
            job_no=standing.job_no,
            sampling_step=standing.sampling_step,
            sampling_steps=standing.sampling_steps,
        ),
    )


def _job_name(task: Running) -> str:
    kind = task.meta.get("path", "").rstrip("/").rpartition("/")[2] or "txt2img"
    return f"scripts_{kind}" if kind in {"txt2img", "img2img"} else kind
