"""``/easel/v1/tasks/<id>``: where a task is, and cancelling it.

The id is the request id, or one that the sender gave: ``force_task_id`` (or another idempotency key),
``id_task``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from easel_gateway.cancelling import cancel_task
from easel_gateway.edge.schema import answers
from easel_gateway.errors import ApiError
from easel_gateway.gateway import gateway_of
from easel_gateway.tasks.events import MAX_WAIT_S, follow, render_status
from easel_gateway.tasks.finding import find_own
from easel_queue import CancelOutcome

router = APIRouter(tags=["Easel"])


@router.get("/easel/v1/tasks/{request_id}", responses=answers(None, 404))
async def task_status(request: Request, request_id: str) -> dict[str, Any]:
    """State, position, progress and errors of one task; ended tasks are remembered for an hour."""
    gateway = gateway_of(request)
    status = await gateway.queue.run(gateway.queue.tasks.status(await _known_as(request, request_id)))
    if status is None:
        raise _unknown(request_id)
    return render_status(status)


@router.get(
    "/easel/v1/tasks/{request_id}/events",
    response_class=StreamingResponse,
    responses=answers(
        {"text/event-stream": {"type": "string"}}, 404, description="Events until the task ends"
    ),
)
async def task_events(
    request: Request, request_id: str, wait_s: Annotated[float, Query(allow_inf_nan=False)] = 0.0
) -> StreamingResponse:
    """Server-sent events `state`, `progress`, `preview` and, last, `end`. `wait_s` (at most 30) is how
    long a task that is not known yet may take to appear, for a client that listens before it posts."""
    task = await _known_as(request, request_id)
    events = follow(gateway_of(request), task, wait_s=min(max(wait_s, 0.0), MAX_WAIT_S))
    first = await anext(events, None)
    if first is None:
        raise _unknown(request_id)

    async def stream() -> AsyncIterator[bytes]:
        yield first
        async for event in events:
            yield event

    # The proxy header stops nginx from collecting the stream into large blocks.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


@router.post("/easel/v1/tasks/{request_id}/cancel", responses=answers(None, 404))
@router.delete("/easel/v1/tasks/{request_id}", responses=answers(None, 404))
async def task_cancel(request: Request, request_id: str) -> dict[str, str]:
    """Cancel this task and no other. `cancelled`: it had not begun and is gone. `stopping`: it stops at the
    next step."""
    task = await _known_as(request, request_id)
    outcome = await cancel_task(gateway_of(request), task)
    if outcome is CancelOutcome.UNKNOWN:
        raise _unknown(request_id)
    return {"request_id": task, "outcome": outcome.value}


@router.get("/easel/v1/workers")
async def workers(request: Request) -> list[dict[str, Any]]:
    """Every worker whose heartbeat is fresh."""
    queue = gateway_of(request).queue
    alive = await queue.run(queue.tasks.workers())
    return [{"id": worker.id, "seen_ms": worker.seen_ms, "info": worker.info} for worker in alive]


async def _known_as(request: Request, name: str) -> str:
    """The request id of the caller's task of this name; the name itself where it has none by it."""
    found = await find_own(request, name)
    return name if found is None else found.request_id


def _unknown(request_id: str) -> ApiError:
    return ApiError(404, f"No task {request_id[:128]!r}: it ended more than an hour ago or never was.")
