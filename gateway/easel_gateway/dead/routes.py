"""``/easel/v1/dead``: tasks that were given up. Listed, shown, put back into the queue, removed.

Every call here is safe to repeat: what is gone or waits already stays so.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from easel_claims import ClaimMissingError
from easel_contract.requests import from_validation
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.errors import ApiError
from easel_gateway.gateway import Gateway, gateway_of
from easel_queue import TRUNCATE_BATCH, DeadLetter, RequestIdTakenError

router = APIRouter(tags=["Easel"])

MAX_PAGE = 500
MAX_INDEX = 2**53 - 1
"""Indexes are kept as doubles by Redis; nothing larger is ever given out."""
MAX_REQUEST_BYTES = 64 * 1024
MAX_SHOWN_BYTES = 1024 * 1024
"""Larger bodies are shown as base64: parsing them would hold everybody else up."""


class RequeueMany(BaseModel):
    """Which letters go back: those that have all of `tags` (none named: every one), oldest first."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tags: dict[str, str] = Field(default_factory=dict)
    limit: int = Field(1000, ge=1, le=100_000, description="Most letters put back by this call.")
    start: int = Field(0, ge=0, le=MAX_INDEX, description="First index looked at; go on at `next`.")


@router.get("/easel/v1/dead")
async def list_dead(
    request: Request,
    tag: Annotated[list[str], Query(default_factory=list)],
    start: Annotated[int, Query(ge=0, le=MAX_INDEX)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    newest_first: bool = False,
) -> dict[str, Any]:
    """Letters in order of their index from `start` on (0: the beginning of the order), without their bodies.
    `tag`, repeatable, is `name=value`. `next` is where the next page starts, null after the last."""
    queue = gateway_of(request).queue
    found: list[DeadLetter] = []
    while True:
        page = await queue.run(
            queue.dead.page(
                start=start, limit=limit - len(found), newest_first=newest_first, tags=_filter(tag)
            )
        )
        found += page.letters
        start = page.next_index
        if len(found) >= limit or not start:
            return {"letters": [render(letter) for letter in found], "next": start or None}


@router.get(
    "/easel/v1/dead/{name}",
    response_class=Response,
    responses=answers({"application/json": {"type": "object"}}, 404),
)
async def show_dead(request: Request, name: str) -> Response:
    """One letter, by index or request id, with the error of each delivery and the request's body: as JSON if
    it is that (and below 1 MiB), else as base64 text; `body_encoding` says which. A body that is missing from
    the store is null, its encoding `missing`, and `body_error` says more."""
    gateway = gateway_of(request)
    letter = await gateway.queue.run(gateway.queue.dead.show(name))
    if letter is None:
        raise _unknown(name)
    if letter.claim is None:
        return Response(render_whole(letter), media_type="application/json")
    try:
        letter = replace(letter, data=await gateway.claims.fetch(letter.claim))
    except ClaimMissingError as error:
        shown = {**_details(letter), "body_encoding": "missing", "body": None, "body_error": str(error)}
        return Response(_json(shown), media_type="application/json")
    return Response(render_whole(letter), media_type="application/json")


@router.post(
    "/easel/v1/dead/requeue",
    openapi_extra=json_body(RequeueMany),
    responses=answers(None, 408, 410, 413, 422),
)
async def requeue_many(request: Request) -> dict[str, Any]:
    """Put many letters back, until the input queue is full (`full`). Those whose request id a newer task has
    stay. Repeating it moves only what is still, or again, dead."""
    gateway = gateway_of(request)
    body = await read_body(request, MAX_REQUEST_BYTES, setting="")
    try:
        wanted = RequeueMany.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None
    count, start, full = 0, wanted.start, False
    while True:
        done = await gateway.queue.run(
            gateway.queue.dead.requeue_matching(
                start=start,
                limit=wanted.limit - count,
                tags=wanted.tags,
                max_length=gateway.settings.queue_max_length,
                max_bytes=gateway.settings.queue_max_bytes,
            )
        )
        count, start, full = count + done.count, done.next_index, done.full
        if full or not start or count >= wanted.limit:
            return {"requeued": count, "next": start or None, "full": full}


@router.post("/easel/v1/dead/{name}/requeue", responses=answers(None, 404, 409, 410))
async def requeue_one(request: Request, name: str) -> dict[str, Any]:
    """Put one letter back to its old place in the line, with its index and request id and no deliveries.

    Its first result stays delivered; the second has the tag `requeued`. Repeating it while the task lives
    changes nothing."""
    gateway = gateway_of(request)
    settings = gateway.settings
    call = gateway.queue.dead.requeue(
        name, max_length=settings.queue_max_length, max_bytes=settings.queue_max_bytes
    )
    try:
        placed = await gateway.queue.run(call)
    except RequestIdTakenError:
        raise ApiError(
            409, f"A newer task has the request id of letter {name[:128]!r}; the letter stays."
        ) from None
    if placed is None:
        raise _unknown(name)
    return {"index": placed.index, "request_id": placed.request_id}


@router.delete("/easel/v1/dead/{name}", responses=answers(None, 404))
async def delete_dead(request: Request, name: str) -> dict[str, int]:
    """Remove one letter for good. 404 when it is not (or no longer) there."""
    gateway = gateway_of(request)
    letter = await gateway.queue.run(gateway.queue.dead.show(name))
    if letter is None or not await gateway.queue.run(gateway.queue.rear.delete([letter.index])):
        raise _unknown(name)
    return {"removed": 1}


@router.delete("/easel/v1/dead")
async def purge_dead(request: Request, before: Annotated[int, Query(ge=1, le=MAX_INDEX)]) -> dict[str, int]:
    """Remove every letter whose index is below `before`. It must be named, so that nothing goes unseen."""
    return {"removed": await _purge(gateway_of(request), before)}


async def _purge(gateway: Gateway, before: int) -> int:
    removed = 0
    while True:  # in batches, so that Redis serves others in between
        batch = await gateway.queue.run(gateway.queue.rear.truncate(before))
        removed += batch
        if batch < TRUNCATE_BATCH:
            return removed


def render(letter: DeadLetter) -> dict[str, Any]:
    """One letter as JSON, without its body. Times are ms since the epoch."""
    return {
        "index": letter.index,
        "request_id": letter.request_id,
        "tags": letter.tags,
        "priority": letter.priority,
        "deliveries": letter.deliveries,
        "enqueued_ms": letter.enqueued_ms or None,
        "died_ms": letter.died_ms,
        "size": letter.size,
        "last_error": letter.errors[-1] if letter.errors else None,
    }


def render_whole(letter: DeadLetter) -> bytes:
    """One letter with its body, as JSON text. The body is JSON too if it is small enough to be looked at
    here and can be sent as such; half a surrogate pair or 1e999 cannot."""
    shown = _details(letter)
    if letter.size <= MAX_SHOWN_BYTES:
        try:
            return _json({**shown, "body_encoding": "json", "body": json.loads(letter.data)})
        except (ValueError, RecursionError):  # no JSON, or none that can be sent
            pass
    body = base64.b64encode(letter.data).decode()
    return _json({**shown, "body_encoding": "base64", "body": body})


def _details(letter: DeadLetter) -> dict[str, Any]:
    return {**render(letter), "errors": list(letter.errors), "meta": letter.meta}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def _filter(pairs: list[str]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ApiError(400, f"tag: use name=value, not {pair[:100]!r}")
        tags[name] = value
    return tags


def _unknown(name: str) -> ApiError:
    return ApiError(404, f"No dead letter {name[:128]!r}: it was requeued or removed, or never was.")
