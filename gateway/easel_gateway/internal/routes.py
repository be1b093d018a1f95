"""Progress of one certain task, the tasks that wait, and a sign of life."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from easel_contract.requests import from_validation
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.gateway import Gateway, gateway_of
from easel_gateway.sharing import own_tasks
from easel_gateway.tasks.finding import find_own
from easel_gateway.tasks.previews import data_uri
from easel_gateway.tasks.standing import Standing
from easel_queue import State, Status

MAX_REQUEST_BYTES = 64 * 1024
MAX_LISTED = 1000
"""Waiting tasks that are listed; `size` counts all."""
NO_PREVIEW = -1

router = APIRouter(tags=["A1111"])


class TaskProgressRequest(BaseModel):
    """`id_task`: the `force_task_id` or `id_task` that was sent, or the request id. `id_live_preview`: the
    preview that the caller has; a newer one is sent only with `live_preview`."""

    id_task: str
    id_live_preview: int = NO_PREVIEW
    live_preview: bool = True


class TaskProgress(BaseModel):
    """Of the three flags at most one is true. An ended task is remembered for an hour."""

    active: bool = False
    queued: bool = False
    completed: bool = False
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = None
    id_live_preview: int | None = None
    textinfo: str | None = None


@router.post(
    "/internal/progress",
    openapi_extra=json_body(TaskProgressRequest),
    responses=answers(None, 408, 413, 422),
)
async def task_progress(request: Request) -> TaskProgress:
    """How far one task is: `progress` 0 to 1, `eta` in seconds, `live_preview` as a data URI."""
    body = await read_body(request, MAX_REQUEST_BYTES, setting="")
    try:
        asked = TaskProgressRequest.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None
    gateway = gateway_of(request)
    found = await find_own(request, asked.id_task)
    status = await gateway.queue.run(gateway.queue.tasks.status(found.request_id)) if found else None
    if status is None:
        return TaskProgress(id_live_preview=NO_PREVIEW, textinfo="Waiting...")
    if status.state.ended:
        return TaskProgress(completed=True, id_live_preview=NO_PREVIEW)
    if status.state is not State.RUNNING:
        place = await _place(gateway, status)
        return TaskProgress(queued=True, id_live_preview=NO_PREVIEW, textinfo=place)
    standing = Standing.of(status.progress)
    shown = TaskProgress(
        active=True, progress=standing.progress, eta=standing.eta_s, id_live_preview=NO_PREVIEW
    )
    if asked.live_preview:
        await _add_preview(gateway, status.request_id, asked.id_live_preview, shown)
    return shown


@router.get("/internal/pending-tasks")
async def pending_tasks(request: Request) -> dict[str, Any]:
    """The caller's tasks that wait, next first: each by the id that its sender gave it, else by its request
    id. At most 1000 are listed."""
    queue = gateway_of(request).queue
    page = await queue.run(queue.tasks.waiting(limit=MAX_LISTED, whose=own_tasks(request)))
    return {"size": page.total, "tasks": [task.meta.get("id_task") or task.request_id for task in page.tasks]}


@router.get("/internal/ping")
async def ping() -> dict[str, Any]:
    """An empty object: the gateway answers."""
    return {}


async def _place(gateway: Gateway, status: Status) -> str:
    page = await gateway.queue.run(gateway.queue.tasks.waiting(limit=0))
    place = 1 if status.state is State.RESERVED else page.fetched + status.ahead + 1
    return f"In queue: {place}/{max(place, page.total)}"


async def _add_preview(gateway: Gateway, request_id: str, known: int, shown: TaskProgress) -> None:
    preview = await gateway.queue.run(gateway.queue.tasks.show_preview(request_id, known=known))
    if preview is not None:
        shown.id_live_preview = preview.number
        shown.live_preview = data_uri(preview) if preview.data else None
