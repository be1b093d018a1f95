"""The scheduler's queue and history: submitting, listing, pausing, clearing."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request

from easel_contract.requests import Img2ImgRequest, Txt2ImgRequest
from easel_contract.samplers import SAMPLERS
from easel_gateway.agent_scheduler.params import make_job, read_object
from easel_gateway.agent_scheduler.records import (
    BATCH,
    ENDED,
    Answer,
    own_page,
    refusal,
    render,
    submit,
    success,
)
from easel_gateway.cancelling import cancel_task
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.gateway import gateway_of, request_id_of
from easel_gateway.sdapi.catalogue import list_checkpoints
from easel_gateway.sharing import own_tasks
from easel_gateway.submit import refuse_known_id
from easel_queue import RecordStatus

PREFIX = "/agent-scheduler/v1"
MAX_PAGE = 1000
MAX_OFFSET = 1_000_000

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]

router = APIRouter(prefix=PREFIX, tags=["agent-scheduler"])


@router.get("/samplers")
async def samplers() -> list[str]:
    """The samplers' names."""
    return [sampler.name for sampler in SAMPLERS]


@router.get("/sd-models")
async def sd_models(request: Request) -> list[str]:
    """The checkpoints' titles."""
    models = await asyncio.to_thread(list_checkpoints, gateway_of(request).library)
    return [model.title for model in models]


@router.post(
    "/queue/txt2img",
    openapi_extra=json_body(Txt2ImgRequest),
    responses=answers(None, 408, 409, 410, 413, 422, 429),
)
async def queue_txt2img(request: Request) -> dict[str, str]:
    """Queue an A1111 request, with `checkpoint` and `vae` (names) beside its fields. The pictures are stored;
    the task and its result can be asked for until a week after its end. `callback_url` is refused."""
    return {"task_id": await _submit(request, "txt2img")}


@router.post(
    "/queue/img2img",
    openapi_extra=json_body(Img2ImgRequest),
    responses=answers(None, 404, 408, 409, 410, 413, 422, 429),
)
async def queue_img2img(request: Request) -> dict[str, str]:
    """The same for img2img."""
    return {"task_id": await _submit(request, "img2img")}


async def _submit(request: Request, kind: str) -> str:
    gateway = gateway_of(request)
    limit, setting = gateway.settings.payload_limit("in")
    body = await read_body(request, limit, setting=setting)
    await refuse_known_id(request)
    job = make_job(kind, read_object(body or b"{}"), gateway.settings.limits())
    return await submit(request, job, request_id=request_id_of(request))


@router.get("/queue")
async def queue(request: Request, limit: Limit = 20, offset: Offset = 0) -> Answer:
    """The caller's tasks that wait, in the order of the line, and the one that runs."""
    gateway = gateway_of(request)
    pending = await own_page(request, [RecordStatus.PENDING], offset=offset, limit=limit)
    running = await own_page(request, [RecordStatus.RUNNING])
    return {
        "current_task_id": running.records[-1].request_id if running.records else None,
        "pending_tasks": [render(record) for record in pending.records],
        "total_pending_tasks": pending.total,
        "paused": await gateway.queue.run(gateway.queue.records.pause()),
    }


@router.get("/history")
async def history(request: Request, status: str = "", limit: Limit = 20, offset: Offset = 0) -> Answer:
    """The caller's tasks that ended within a week, the newest first; all, or those of one `status`: done,
    failed, interrupted."""
    wanted = [known for known in ENDED if status in ("", known.value)]
    page = await own_page(request, wanted, offset=offset, limit=limit)
    return {"tasks": [render(record) for record in page.records], "total": page.total}


@router.post("/queue/pause")
@router.post("/pause", deprecated=True)
async def pause(request: Request) -> Answer:
    """Let workers take no more tasks, of any kind. Those in work go on."""
    return await _pause(request, paused=True)


@router.post("/queue/resume")
@router.post("/resume", deprecated=True)
async def resume(request: Request) -> Answer:
    """Let workers take tasks again."""
    return await _pause(request, paused=False)


async def _pause(request: Request, *, paused: bool) -> Answer:
    if own_tasks(request).users is not None:
        return refusal(
            "The queue is shared by several users, whose tasks would stop too; "
            "the operator can allow it (EASEL_INTERRUPT_ANYONE)"
        )
    gateway = gateway_of(request)
    await gateway.queue.run(gateway.queue.records.pause(paused))
    return success("Queue is paused" if paused else "Queue is resumed")


@router.post("/queue/clear")
async def clear_queue(request: Request) -> Answer:
    """Cancel and forget the caller's tasks that wait."""
    gateway = gateway_of(request)
    while (page := await own_page(request, [RecordStatus.PENDING], limit=BATCH)).records:
        for record in page.records:
            await cancel_task(gateway, record.request_id)
            await gateway.queue.run(gateway.queue.records.drop(record.request_id))
    return success("Queue cleared")


@router.post("/history/clear")
async def clear_history(request: Request) -> Answer:
    """Forget the caller's tasks that ended. Their pictures stay."""
    gateway = gateway_of(request)
    while (page := await own_page(request, ENDED, limit=BATCH)).records:
        for record in page.records:
            await gateway.queue.run(gateway.queue.records.drop(record.request_id))
    return success("Task history cleared")
