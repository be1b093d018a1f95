"""``POST /sdapi/v1/interrupt`` and ``/skip``: the caller's running tasks end, or cut a batch, early."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from easel_contract.requests import from_validation
from easel_gateway.edge.body import read_body
from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.errors import ApiError
from easel_gateway.gateway import Gateway, gateway_of
from easel_gateway.sharing import own_tasks
from easel_gateway.tasks.finding import find_own
from easel_queue import Call, InterruptOutcome

MAX_REQUEST_BYTES = 64 * 1024

router = APIRouter(tags=["A1111"], route_class=RawRoute)


class InterruptRequest(BaseModel):
    """Nothing at all, or one task: by its request id, its `force_task_id`, or its sender's `id_task`."""

    # A misspelt name must not interrupt everything.
    model_config = ConfigDict(extra="forbid")

    id_task: str | None = Field(None, min_length=1)
    task_id: str | None = Field(None, min_length=1, description="The same.")

    @property
    def name(self) -> str | None:
        """The task that is meant; None: all of the caller's."""
        return self.id_task or self.task_id


_EMPTY = {"application/json": {"type": "object"}}
_OPTIONAL = {"requestBody": {**json_body(InterruptRequest)["requestBody"], "required": False}}


@router.post(
    "/sdapi/v1/interrupt",
    summary="End the caller's running tasks early",
    openapi_extra=_OPTIONAL,
    response_class=Response,
    responses=answers(_EMPTY, 404, 408, 413, 422),
)
async def interrupt(request: Request) -> Response:
    """Each is answered with 200 and what it has: the batches that are done and the current one as far as it
    got. Tasks that wait, and other users', go on. With an id that task only; 404 when there is none."""
    gateway = gateway_of(request)
    named = await _tell(request, gateway.queue.tasks.interrupt)
    return JSONResponse(named or {})


@router.post(
    "/sdapi/v1/skip",
    summary="Cut the current batch of the caller's running tasks short",
    openapi_extra=_OPTIONAL,
    response_class=Response,
    responses=answers({"application/json": {"nullable": True}}, 404, 408, 413, 422),
)
async def skip(request: Request) -> Response:
    """The current batch is kept as far as it got, and the next one begins. Other users' tasks go on."""
    gateway = gateway_of(request)
    named = await _tell(request, gateway.queue.tasks.skip)
    return JSONResponse(named)


async def _tell(request: Request, ask: Callable[[str], Call[InterruptOutcome]]) -> dict[str, str] | None:
    """Ask the tasks that are meant. Answers what became of the named one, None without a name."""
    gateway = gateway_of(request)
    body = (await read_body(request, MAX_REQUEST_BYTES, setting="")).strip()
    try:
        wanted = InterruptRequest.model_validate_json(body if body not in {b"", b"null"} else b"{}")
    except ValidationError as error:
        raise from_validation(error) from None
    if wanted.name is None:
        for request_id in await _running_own(request, gateway):
            await gateway.queue.run(ask(request_id))
        return None
    found = await find_own(request, wanted.name)
    outcome = await gateway.queue.run(ask(found.request_id)) if found else InterruptOutcome.UNKNOWN
    if found is None or outcome is InterruptOutcome.UNKNOWN:
        raise ApiError(404, f"No task {wanted.name[:128]!r} of yours waits or runs.")
    return {"request_id": found.request_id, "outcome": outcome.value}


async def _running_own(request: Request, gateway: Gateway) -> list[str]:
    own = own_tasks(request)
    running = await gateway.queue.run(gateway.queue.tasks.running())
    return [task.request_id for task in running if own.covers(task.user)]
