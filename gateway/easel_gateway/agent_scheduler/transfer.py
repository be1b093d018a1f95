"""The scheduler's tasks as a file: from one service to another, or to keep."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from easel_contract.errors import ContractError
from easel_contract.requests import from_validation
from easel_gateway.agent_scheduler.params import KINDS, make_job
from easel_gateway.agent_scheduler.queue_routes import PREFIX, Limit, Offset
from easel_gateway.agent_scheduler.records import MAX_NAME_CHARS, Answer, own_page, render, submit, success
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.gateway import gateway_of
from easel_queue import RecordStatus

MAX_IMPORTED = 1000

router = APIRouter(prefix=PREFIX, tags=["agent-scheduler"])


class ImportRequest(BaseModel):
    """`content`: JSON text of a list of tasks, as `export` answers it; `type` and `params` of each count."""

    content: str


@router.get("/export")
async def export_tasks(request: Request, limit: Limit = 1000, offset: Offset = 0) -> list[Answer]:
    """The caller's tasks, whatever their state."""
    page = await own_page(request, list(RecordStatus), offset=offset, limit=limit)
    return [render(record) for record in page.records]


@router.post(
    "/import",
    openapi_extra=json_body(ImportRequest),
    responses=answers(None, 404, 408, 410, 413, 422, 429),
)
async def import_tasks(request: Request) -> Answer:
    """Queue all tasks of a list, each under a new id. If one is wrong, none is queued."""
    gateway = gateway_of(request)
    body = await read_body(request, gateway.settings.max_body_bytes)
    try:
        content = ImportRequest.model_validate_json(body).content
    except ValidationError as error:
        raise from_validation(error) from None
    limits = gateway.settings.limits()
    jobs = [(make_job(kind, params, limits), name) for kind, params, name in _read(content)]
    made = [await submit(request, job, name=name) for job, name in jobs]
    return success(f"{len(made)} tasks imported", task_ids=made)


def _read(content: str) -> list[tuple[str, dict[str, Any], str]]:
    """Kind, params and name of every task. Raises ContractError."""
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"is not JSON: {error}", field="content") from None
    if not isinstance(listed, list) or len(listed) > MAX_IMPORTED:
        raise ContractError(f"is not a list of at most {MAX_IMPORTED} tasks", field="content")
    return [_read_task(number, task) for number, task in enumerate(listed)]


def _read_task(number: int, task: object) -> tuple[str, dict[str, Any], str]:
    kind = task.get("type") if isinstance(task, dict) else None
    params = task.get("params") if isinstance(task, dict) else None
    name = task.get("name") if isinstance(task, dict) else None
    if isinstance(params, str):  # the scheduler's own exports hold it as text
        try:
            params = json.loads(params)
        except (ValueError, RecursionError):
            params = None
    if kind not in KINDS or not isinstance(params, dict) or not _is_name(name):
        raise ContractError(
            f"task {number}: expected type ({' or '.join(KINDS)}) and params (an object)", field="content"
        )
    return kind, params, name or ""


def _is_name(name: object) -> bool:
    if not isinstance(name, (str, type(None))) or len(name or "") > MAX_NAME_CHARS:
        return False
    # JSON can spell half of a surrogate pair, which nothing could store.
    return (name or "").encode("utf-8", "ignore").decode() == (name or "")
