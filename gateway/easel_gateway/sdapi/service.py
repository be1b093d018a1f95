"""``/sdapi/v1`` about the service itself: flags, memory, models in memory, stopping, and training."""

from __future__ import annotations

import os
import signal
from typing import Any

from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response

from easel_gateway.edge.schema import TEXT, answers
from easel_gateway.errors import ApiError
from easel_gateway.gateway import gateway_of
from easel_gateway.sdapi.flags import cmd_flags
from easel_gateway.sdapi.memory import total_memory

UNLOAD, RELOAD = "unload", "reload"
"""Messages to workers."""

STOPS = answers({TEXT: {"type": "string"}}, 404)

router = APIRouter(tags=["A1111"])


@router.get("/sdapi/v1/cmd-flags")
async def flags(request: Request) -> dict[str, Any]:
    """Easel's settings under A1111's names. Secrets are masked."""
    return cmd_flags(gateway_of(request).settings)


@router.get("/sdapi/v1/memory")
async def memory(request: Request) -> dict[str, Any]:
    """Bytes of memory of all workers together, in A1111's shape, and each worker's own in `workers`."""
    queue = gateway_of(request).queue
    alive = await queue.run(queue.tasks.workers())
    return total_memory(alive)


@router.post("/sdapi/v1/unload-checkpoint")
async def unload_checkpoint(request: Request) -> dict[str, Any]:
    """Every worker drops its models from memory, after the task that it renders. The next task loads what it
    needs."""
    return await _tell(request, UNLOAD)


@router.post("/sdapi/v1/reload-checkpoint")
async def reload_checkpoint(request: Request) -> dict[str, Any]:
    """Every worker loads the checkpoint that the options name, else the default one, after the task that it
    renders."""
    queue = gateway_of(request).queue
    stored = await queue.run(queue.options.read())
    return await _tell(request, f"{RELOAD} {stored.values.get('sd_model_checkpoint') or ''}".strip())


async def _tell(request: Request, message: str) -> dict[str, Any]:
    queue = gateway_of(request).queue
    await queue.run(queue.tasks.tell_workers(message))
    return {}


@router.post(
    "/sdapi/v1/server-kill", response_class=Response, responses=answers({TEXT: {"type": "string"}}, 404)
)
@router.post(
    "/sdapi/v1/server-stop", response_class=Response, responses=answers({TEXT: {"type": "string"}}, 404)
)
async def server_stop(request: Request) -> Response:
    """Stop this gateway as SIGTERM does. Only where EASEL_API_SERVER_STOP allows it."""
    _refuse_unless_allowed(request)
    # After the answer is on its way; the server itself hears the signal and ends in order.
    return PlainTextResponse("Stopping.", background=BackgroundTask(os.kill, os.getpid(), signal.SIGTERM))


@router.post("/sdapi/v1/server-restart", responses=answers(None, 404, 501))
async def server_restart(request: Request) -> None:
    """Not here: what supervises the gateway restarts it."""
    _refuse_unless_allowed(request)
    raise ApiError(501, "Not restartable by itself; its supervisor restarts it (server-stop ends it).")


def _refuse_unless_allowed(request: Request) -> None:
    if not gateway_of(request).settings.api_server_stop:
        raise ApiError(404, "Not Found: stopping by a request is off (EASEL_API_SERVER_STOP).")


@router.post("/sdapi/v1/create/embedding", responses=answers(None, 501))
@router.post("/sdapi/v1/create/hypernetwork", responses=answers(None, 501))
@router.post("/sdapi/v1/train/embedding", responses=answers(None, 501))
@router.post("/sdapi/v1/train/hypernetwork", responses=answers(None, 501))
async def training() -> None:
    """Easel renders; it does not train."""
    raise ApiError(501, "Easel does not train; use a trainer and put its file into the data directory.")
