"""What calls that a worker serves have in common: synchronous as A1111 answers, or queued as EAS does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest
from easel_gateway.eas.query import Query
from easel_gateway.eas.schema import INDEX, PUT_HEADERS, TAGS
from easel_gateway.eas.target import REQUEST_ID_HEADER
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import TEXT, Problem, answers, json_body, parameter
from easel_gateway.gateway import gateway_of
from easel_gateway.idempotency import once_of
from easel_gateway.submit import call_task, put_task

PREFER = parameter("Prefer", {"type": "string"}, "`respond-async` queues the call.", place="header")
RESULT = {
    "type": "object",
    "description": "`images` (base64, or paths with `save_dir`), `parameters` and `info`, as A1111 answers.",
}

Parse = Callable[[bytes, Limits], object]
"""Reads a body and raises ContractError for what is wrong with it."""

Rewrite = Callable[[bytes], bytes]
"""Makes another body of one; raises ContractError as well."""


def route_options(
    body: type[BaseModel] | dict[str, Any], *statuses: int, result: dict[str, Any] = RESULT
) -> dict[str, Any]:
    """What a call to a worker tells FastAPI: its body (a model, or what `array_body` makes of one), its
    parameters and answers, `statuses` among them."""
    described = body if isinstance(body, dict) else json_body(body)
    return {
        "openapi_extra": described | {"parameters": [*PUT_HEADERS, TAGS, PREFER]},
        "response_class": Response,
        "responses": {
            **answers(
                {"application/json": result, TEXT: INDEX},
                *(408, 409, 410, 413, 422, 429, 500, *statuses),
                description="The result, or the index of the queued task",
            ),
            "default": {"description": "A task's own failure status", "model": Problem},
        },
    }


def wants_queue(request: Request) -> bool:
    """Whether this call is queued: it has query parameters (its tags) or prefers it, and did not come by
    the synchronous EAS address."""
    if getattr(request.state, "synchronous", False):
        return False
    preferences = (part.strip().lower() for part in request.headers.get("prefer", "").split(","))
    return bool(request.scope["query_string"]) or "respond-async" in preferences


async def serve(request: Request, path: str, parse: Parse, *, rewrite: Rewrite | None = None) -> Response:
    """Check the body, then have it done and answer, or queue it and answer with its index.

    `rewrite` makes a body of `path` from that of another address.
    """
    gateway = gateway_of(request)
    limit, setting = gateway.settings.payload_limit("in")
    body = await read_body(request, limit, setting=setting)
    if rewrite is not None:
        body = rewrite(body)
    parsed = parse(body, gateway.settings.limits())
    wanted = parsed if isinstance(parsed, GenerationRequest) else None
    key = wanted.force_task_id if wanted else None
    if not wants_queue(request):
        once = await once_of(request, body, path=path, field=key)
        return await call_task(request, body, path=path, once=once, wanted=wanted)
    query = Query.of(request)
    once = await once_of(request, body, path=path, tags=query.tags, field=key)
    placed = await put_task(request, body, path=path, query=query, once=once, wanted=wanted)
    return PlainTextResponse(str(placed.index), headers={REQUEST_ID_HEADER: placed.request_id})
