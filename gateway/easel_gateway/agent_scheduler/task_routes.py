"""One task of the scheduler: looked at, moved, renamed, put again, deleted, its pictures."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import JSONResponse, Response, StreamingResponse

from easel_contract.errors import ContractError
from easel_contract.requests import from_validation
from easel_gateway.agent_scheduler.params import make_job
from easel_gateway.agent_scheduler.queue_routes import PREFIX
from easel_gateway.agent_scheduler.records import (
    BATCH,
    ENDED,
    MAX_NAME_CHARS,
    NOT_FOUND,
    Answer,
    own_page,
    own_record,
    refusal,
    render,
    submit,
    success,
)
from easel_gateway.agent_scheduler.results import (
    TooMuchError,
    chunks,
    result_of,
    shown_pictures,
    zipped_pictures,
)
from easel_gateway.cancelling import cancel_task
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.gateway import gateway_of
from easel_gateway.submit import MAX_PRIORITY
from easel_queue import CancelOutcome, Record, RecordStatus

MAX_REQUEST_BYTES = 64 * 1024
MAX_LOOKED_AT = 10_000
"""Pending tasks among which a moved one finds its place."""
TOP, BOTTOM = "top", "bottom"

router = APIRouter(prefix=PREFIX, tags=["agent-scheduler"])


class TaskChange(BaseModel):
    """What may be changed of a task: its name."""

    name: str | None = Field(None, max_length=MAX_NAME_CHARS)
    checkpoint: str | None = None
    params: dict[str, Any] | None = None


@router.post("/task/requeue-failed", responses=answers(None, 408, 410, 413, 429))
async def requeue_failed(request: Request) -> Answer:
    """Put the caller's failed tasks on the queue again, each under a new id."""
    page = await own_page(request, [RecordStatus.FAILED], limit=BATCH)
    done = [await _requeue(request, record) for record in reversed(page.records)]
    made = [answer["task_id"] for answer in done if answer["success"]]
    return success(f"{len(made)} of {page.total} failed tasks requeued", task_ids=made)


@router.get("/task/{task_id}")
async def show(request: Request, task_id: str) -> Answer:
    """One task; `result` has the paths of its pictures, or the error."""
    record = await own_record(request, task_id)
    if record is None:
        return NOT_FOUND
    result = await result_of(gateway_of(request), task_id) if record.status in ENDED else None
    shown = None if result is None else {"images": result.paths, "error": result.error or None}
    return {"success": True, "data": render(record, shown)}


@router.get("/task/{task_id}/position")
async def position(request: Request, task_id: str) -> Answer:
    """Where it stands in the line, 1 in front; null unless it is pending."""
    record = await own_record(request, task_id)
    if record is None:
        return NOT_FOUND
    return {"success": True, "data": {"status": record.status.value, "position": record.position or None}}


@router.put("/task/{task_id}", openapi_extra=json_body(TaskChange), responses=answers(None, 408, 413, 422))
async def change(request: Request, task_id: str) -> Answer:
    """Rename a task. What it does cannot be changed: delete it and put another."""
    body = await read_body(request, MAX_REQUEST_BYTES, setting="")
    try:
        wanted = TaskChange.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None
    if wanted.checkpoint or wanted.params:
        return refusal("A queued task's checkpoint and params cannot be changed: delete it and queue another")
    return await rename(request, task_id, wanted.name or "")


@router.post("/task/{task_id}/rename", responses=answers(None, 422))
@router.post("/rename/{task_id}", deprecated=True, responses=answers(None, 422))
async def rename(request: Request, task_id: str, name: str) -> Answer:
    """Give a task a name."""
    if await own_record(request, task_id) is None:
        return NOT_FOUND
    gateway = gateway_of(request)
    try:
        stored = name[:MAX_NAME_CHARS].encode().decode()
    except UnicodeEncodeError:
        raise ContractError("has half of a surrogate pair, which is no text", field="name") from None
    await gateway.queue.run(gateway.queue.records.rename(task_id, stored))
    return success("Task renamed")


@router.post("/task/{task_id}/bookmark")
@router.post("/bookmark/{task_id}", deprecated=True)
async def bookmark(request: Request, task_id: str) -> Answer:
    """Mark a task."""
    return await _bookmark(request, task_id, marked=True)


@router.post("/task/{task_id}/unbookmark")
@router.post("/unbookmark/{task_id}", deprecated=True)
async def unbookmark(request: Request, task_id: str) -> Answer:
    """Take the mark away."""
    return await _bookmark(request, task_id, marked=False)


async def _bookmark(request: Request, task_id: str, *, marked: bool) -> Answer:
    if await own_record(request, task_id) is None:
        return NOT_FOUND
    gateway = gateway_of(request)
    await gateway.queue.run(gateway.queue.records.bookmark(task_id, marked))
    return success("Task bookmarked" if marked else "Task unbookmarked")


@router.post("/task/{task_id}/run")
@router.post("/run/{task_id}", deprecated=True)
async def run(request: Request, task_id: str) -> Answer:
    """Let it be the caller's next task."""
    return await move(request, task_id, TOP)


@router.post("/task/{task_id}/move/{over_id}")
@router.post("/move/{task_id}/{over_id}", deprecated=True)
async def move(request: Request, task_id: str, over_id: str) -> Answer:
    """Let it go before, or with `bottom` after, all other tasks of the caller, by its priority; also before
    the task `over_id` if that is the first. Other places in the line cannot be given."""
    record = await own_record(request, task_id)
    if record is None:
        return NOT_FOUND
    if record.status is not RecordStatus.PENDING:
        return refusal(f"Only a pending task can be moved; this one is {record.status.value}")
    pending = await own_page(request, [RecordStatus.PENDING], limit=MAX_LOOKED_AT)
    others = [other for other in pending.records if other.request_id != task_id]
    if over_id not in (TOP, BOTTOM):
        if over_id not in {other.request_id for other in others}:
            return NOT_FOUND
        if over_id != others[0].request_id:
            return refusal("A task can go to the top or the bottom, or before the first one; not in between")
    return await _prioritise(request, record, others, top=over_id != BOTTOM)


async def _prioritise(request: Request, record: Record, others: list[Record], *, top: bool) -> Answer:
    if not others:
        return success("Task moved")
    priorities = [other.priority for other in others]
    priority = max(priorities) + 1 if top else min(priorities) - 1
    if abs(priority) > MAX_PRIORITY:
        return refusal(f"A priority is at most {MAX_PRIORITY}; the queue's tasks use all of them")
    gateway = gateway_of(request)
    if not await gateway.queue.run(gateway.queue.records.move(record.request_id, priority)):
        return refusal("A worker has taken the task meanwhile")
    return success("Task moved")


@router.post("/task/{task_id}/requeue", responses=answers(None, 408, 410, 413, 429))
@router.post("/requeue/{task_id}", deprecated=True, responses=answers(None, 408, 410, 413, 429))
async def requeue(request: Request, task_id: str) -> Answer:
    """Put a task that ended on the queue again, under a new id: `task_id`."""
    record = await own_record(request, task_id)
    if record is None:
        return NOT_FOUND
    if record.status not in ENDED:
        return refusal(f"The task is {record.status.value} already")
    return await _requeue(request, record)


async def _requeue(request: Request, record: Record) -> Answer:
    if record.cut:
        return refusal("The task's images were too large to be kept; queue it again with them")
    settings = gateway_of(request).settings
    try:
        job = make_job(record.kind, json.loads(record.params), settings.limits())
    except ContractError as error:
        return refusal(f"The task is no longer accepted: {error}")
    return success("Task requeued", task_id=await submit(request, job, name=record.name))


@router.delete("/task/{task_id}")
@router.post("/delete/{task_id}", deprecated=True)
async def delete(request: Request, task_id: str) -> Answer:
    """Cancel a task that waits or ended, and forget it; stop one that runs, which is interrupted then."""
    record = await own_record(request, task_id)
    if record is None:
        return NOT_FOUND
    gateway = gateway_of(request)
    if record.status not in ENDED and await cancel_task(gateway, task_id) is CancelOutcome.STOPPING:
        return success("Task interrupted")
    await gateway.queue.run(gateway.queue.records.drop(task_id))
    return success("Task deleted")


@router.get(
    "/task/{task_id}/results",
    response_class=Response,
    responses=answers({"application/json": {"type": "object"}, "application/zip": {"type": "string"}}),
)
@router.get(
    "/results/{task_id}",
    deprecated=True,
    response_class=Response,
    responses=answers({"application/json": {"type": "object"}, "application/zip": {"type": "string"}}),
)
async def results(request: Request, task_id: str, zip: bool = False) -> Response:  # noqa: A002 - the API's name
    """The pictures of a task that ended: as data URIs with their infotexts, the grid first if there is one;
    or, with `zip`, as a zip file."""
    gateway = gateway_of(request)
    record = await own_record(request, task_id)
    if record is None:
        return JSONResponse(NOT_FOUND)
    result = await result_of(gateway, task_id) if record.status in ENDED else None
    if result is None:
        return JSONResponse(refusal(f"The task has no results; it is {record.status.value}"))
    if result.error:
        return JSONResponse(refusal(f"The task has no results: {result.error}"))
    if zip:
        file = await zipped_pictures(gateway, result)
        headers = {"Content-Disposition": f'attachment; filename="results-{task_id}.zip"'}
        return StreamingResponse(chunks(file), media_type="application/zip", headers=headers)
    try:
        return JSONResponse({"success": True, "data": await shown_pictures(gateway, result)})
    except TooMuchError:
        return JSONResponse(refusal("The pictures are too large for one answer; ask with zip=true"))
