"""Tasks as the scheduler's clients see them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from easel_gateway.agent_scheduler.params import Job
from easel_gateway.gateway import gateway_of
from easel_gateway.sharing import origin_of, own_tasks
from easel_gateway.submit import keep_task
from easel_queue import Record, RecordPage, RecordStatus

Answer = dict[str, Any]

ENDED = (RecordStatus.DONE, RecordStatus.FAILED, RecordStatus.INTERRUPTED)
MAX_NAME_CHARS = 200
BATCH = 500
"""Tasks that are looked at in one step by calls that concern all of them."""


def success(message: str, **more: object) -> Answer:
    """It was done."""
    return {"success": True, "message": message, **more}


def refusal(message: str) -> Answer:
    """It was not done, and why. The scheduler's clients get this with status 200."""
    return {"success": False, "message": message}


NOT_FOUND = refusal("Task not found")


async def submit(request: Request, job: Job, *, name: str = "", request_id: str = "") -> str:
    """Put a task on the queue, and keep what was asked. Answers its id. Raises as `put_task`."""
    gateway = gateway_of(request)
    request_id = request_id or str(uuid.uuid4())
    records = gateway.queue.records
    user = origin_of(request, job.wanted).user
    await gateway.queue.run(
        records.keep(request_id, user=user, kind=job.kind, params=job.params, name=name, cut=job.cut)
    )
    try:
        await keep_task(request, job.body, path=job.path, wanted=job.wanted, request_id=request_id)
    except Exception:
        await gateway.queue.run(records.drop(request_id))
        raise
    return request_id


async def own_record(request: Request, task_id: str) -> Record | None:
    """The caller's task of this id."""
    gateway = gateway_of(request)
    record = await gateway.queue.run(gateway.queue.records.show(task_id))
    return record if record is not None and own_tasks(request).covers(record.user) else None


async def own_page(
    request: Request, statuses: Iterable[RecordStatus], *, offset: int = 0, limit: int = BATCH
) -> RecordPage:
    """The caller's tasks of these statuses: the newest first, pending ones in the order of the line."""
    gateway = gateway_of(request)
    return await gateway.queue.run(
        gateway.queue.records.page(statuses, offset=offset, limit=limit, whose=own_tasks(request))
    )


def render(record: Record, result: Answer | None = None) -> Answer:
    """One task. Times are ms since the epoch; `priority`, as the scheduler has it, is the time of arrival."""
    return {
        "id": record.request_id,
        "api_task_id": None,
        "api_task_callback": None,
        "name": record.name or None,
        "type": record.kind,
        "status": record.status.value,
        "params": json.loads(record.params),
        "priority": record.created_ms,
        "position": record.position or None,
        "result": result,
        "bookmarked": record.bookmarked,
        "created_at": record.created_ms,
        "updated_at": record.ended_ms or record.created_ms,
    }
