"""``POST /sdapi/v1/txt2img``: synchronous as A1111 answers it, or queued as EAS does."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from easel_contract.requests import Txt2ImgRequest, parse_txt2img
from easel_gateway.eas.query import Query
from easel_gateway.eas.schema import INDEX, PUT_HEADERS, TAGS
from easel_gateway.eas.target import REQUEST_ID_HEADER
from easel_gateway.edge.body import read_body
from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.edge.schema import TEXT, Problem, answers, json_body, parameter
from easel_gateway.gateway import gateway_of
from easel_gateway.idempotency import once_of
from easel_gateway.submit import call_task, put_task

PATH = "/sdapi/v1/txt2img"
PREFER = parameter("Prefer", {"type": "string"}, "`respond-async` queues the call.", place="header")
RESULT = {
    "type": "object",
    "description": "`images` (base64, or paths with `save_dir`), `parameters` and `info`, as A1111 answers.",
}

router = APIRouter(tags=["A1111"], route_class=RawRoute)


def wants_queue(request: Request) -> bool:
    """Whether this call is queued: it has query parameters (its tags) or prefers it, and did not come by
    the synchronous EAS address."""
    if getattr(request.state, "synchronous", False):
        return False
    preferences = (part.strip().lower() for part in request.headers.get("prefer", "").split(","))
    return bool(request.scope["query_string"]) or "respond-async" in preferences


@router.post(
    PATH,
    summary="Render pictures from a prompt",
    openapi_extra=json_body(Txt2ImgRequest) | {"parameters": [*PUT_HEADERS, TAGS, PREFER]},
    response_class=Response,
    responses={
        **answers(
            {"application/json": RESULT, TEXT: INDEX},
            *(408, 409, 410, 413, 422, 429, 500),
            description="The result, or the index of the queued task",
        ),
        "default": {"description": "A task's own failure status", "model": Problem},
    },
)
async def txt2img(request: Request) -> Response:
    """Without query parameters the answer is the result. With any (they become the task's tags), or with
    `Prefer: respond-async`, the answer is the task's index and the result goes to the sink. Repeated under
    the same `Idempotency-Key` header (or `force_task_id`) it renders once and answers the same."""
    gateway = gateway_of(request)
    limit, setting = gateway.settings.payload_limit("in")
    body = await read_body(request, limit, setting=setting)
    wanted = parse_txt2img(body, gateway.settings.limits())
    if not wants_queue(request):
        once = await once_of(request, body, path=PATH, field=wanted.force_task_id)
        return await call_task(request, body, path=PATH, once=once, wanted=wanted)
    query = Query.of(request)
    once = await once_of(request, body, path=PATH, tags=query.tags, field=wanted.force_task_id)
    placed = await put_task(request, body, path=PATH, query=query, once=once, wanted=wanted)
    return PlainTextResponse(str(placed.index), headers={REQUEST_ID_HEADER: placed.request_id})
