"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from easel_gateway.edge.schema import TEXT, answers
from easel_gateway.gateway import gateway_of
from easel_queue import QueueUnavailableError
from easel_store import StoreError

CHECK_TIMEOUT_S = 3.0
"""A probe that takes longer is a failed one; orchestrators usually wait a few seconds only."""

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive; says nothing of what it depends on."""
    return {"status": "ok"}


_READY = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("status", "redis", "store")},
    "required": ["status", "redis", "store"],
}


@router.get(
    "/readyz",
    response_class=JSONResponse,
    responses={
        **answers({"application/json": _READY}),
        503: {
            "description": "Something is away; its text says what",
            "content": {"application/json": {"schema": _READY}},
        },
    },
)
async def readyz(request: Request) -> Response:
    """Whether Redis and the store answer; 503 and the name of what does not otherwise."""
    gateway = gateway_of(request)
    checks = await asyncio.gather(_check(gateway.queue.ping()), _check(gateway.store.check()))
    result = dict(zip(("redis", "store"), checks, strict=True))
    ready = all(text == "ok" for text in checks) and not gateway.closing.is_set()
    return JSONResponse({"status": "ok" if ready else "not ready", **result}, 200 if ready else 503)


@router.get("/metrics", response_class=Response, responses=answers({TEXT: {"type": "string"}}))
async def metrics(request: Request) -> Response:
    """Prometheus text format."""
    gateway = gateway_of(request)
    queue = gateway.queue
    try:
        source, sink, dead, workers = await asyncio.wait_for(
            asyncio.gather(
                queue.run(queue.source.attributes()),
                queue.run(queue.sink.attributes()),
                queue.run(queue.rear.count()),
                queue.run(queue.tasks.workers()),
            ),
            CHECK_TIMEOUT_S,
        )
        gateway.metrics.set_queue(source=source, sink=sink, dead=dead, workers=len(workers))
    except (QueueUnavailableError, asyncio.TimeoutError):
        gateway.metrics.lose_queue()
    return Response(gateway.metrics.render(), media_type=CONTENT_TYPE_LATEST)


async def _check(probe: Awaitable[None]) -> str:
    try:
        await asyncio.wait_for(probe, CHECK_TIMEOUT_S)
    except asyncio.TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    except QueueUnavailableError:
        return "does not answer"
    except StoreError as error:
        return str(error)
    return "ok"
