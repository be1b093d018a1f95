"""``/api/predict/<service>...``: one address, its operation chosen by verb and reserved parameters."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from starlette.responses import JSONResponse, PlainTextResponse, Response

from easel_gateway.eas import reading, schema
from easel_gateway.eas.attributes import render_attributes
from easel_gateway.eas.codecs import PROTOBUF, negotiate
from easel_gateway.eas.negative import read_complaint
from easel_gateway.eas.query import Query
from easel_gateway.eas.target import (
    PRIORITY_HEADER,
    REQUEST_ID_HEADER,
    UID_HEADER,
    Target,
    consumer_of,
    target_of,
)
from easel_gateway.eas.watch import Watch
from easel_gateway.eas.watch_transports import SocketTransport, WatchStream
from easel_gateway.edge.body import read_body
from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.errors import ApiError
from easel_gateway.gateway import gateway_of, request_id_of
from easel_gateway.idempotency import once_of
from easel_gateway.submit import priority_of, put_task
from easel_queue import TRUNCATE_BATCH

_log = logging.getLogger(__name__)

router = APIRouter(tags=["EAS queue"], route_class=RawRoute)

ADDRESS = "/api/predict/{rest:path}"

# Described here instead of being a parameter of every handler: FastAPI would validate it for each request,
# which costs as much as all our middleware, and `target_of` reads it anyway.
_REST: dict[str, Any] = {
    "name": "rest",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "title": "Rest"},
}

Operation = Callable[[Request, Target, Query], Awaitable[Response]]


def select_operation(method: str, query: Query) -> str:
    """The name of the operation that a verb and its reserved parameters mean; "" when there is none."""
    if method == "POST":
        return "end_of_stream" if query.flag("_eos_") else "put"
    if method == "PUT":
        return "negative_commit" if query.flag("_negative_") else "commit"
    if method == "DELETE":
        return "truncate" if query.flag("_trunc_") else "delete"
    if method != "GET":
        return ""
    for parameter in ("_attrs_", "_search_", "_count_", "_watch_"):
        if query.flag(parameter):
            return parameter.strip("_")
    return "get"


@router.get(
    ADDRESS,
    summary="Get, attributes, search, count, watch",
    response_class=Response,
    responses=schema.GET_ANSWERS,
    openapi_extra={"parameters": [_REST, *schema.GET_PARAMETERS]},
)
async def read_queue(request: Request) -> Response:
    """`_attrs_=true`, `_search_=true`, `_count_=true` or `_watch_=true`, else get: items from `_index_` on,
    at most `_length_`, waiting up to `_timeout_`; any other parameter is a tag that must match. `/sink`
    addresses the results, the header `X-EAS-QueueService-Access-Rear: true` the dead letters. A watch without
    a WebSocket answers with an endless body: per item its length in four bytes, big-endian, and the item."""
    return await _perform(request)


@router.post(
    ADDRESS,
    summary="Put, end of stream",
    response_class=Response,
    responses=schema.PUT_ANSWERS,
    openapi_extra={"parameters": [_REST, *schema.PUT_PARAMETERS], "requestBody": schema.PUT_BODY},
)
async def put_item(request: Request) -> Response:
    """Store the body, whatever it is; the answer is its index. Query parameters are its tags, `_priority_`
    its priority, the path behind the service what it is for. Repeated under the same `Idempotency-Key` it
    stores nothing and answers the same. With `_eos_=true` nothing is stored: the queue takes no more items,
    and its watchers are finished when they have consumed the rest; `_force_=true` drops the rest. Truncating
    beyond the last index opens the queue again."""
    return await _perform(request)


@router.put(
    ADDRESS,
    summary="Commit, negative commit",
    response_class=Response,
    responses=schema.COMMIT_ANSWERS,
    openapi_extra={"parameters": [_REST, *schema.COMMIT_PARAMETERS], "requestBody": schema.COMMIT_BODY},
)
async def commit_items(request: Request) -> Response:
    """The caller's group is done with `_indexes_`. With `_negative_=true` the caller has failed with them:
    they are delivered again, until they have failed too often. The form fields `_code_` and `_reason_` say
    why."""
    return await _perform(request)


@router.delete(
    ADDRESS,
    summary="Delete, truncate",
    response_class=Response,
    responses=schema.DELETE_ANSWERS,
    openapi_extra={"parameters": [_REST, *schema.DELETE_PARAMETERS]},
)
async def remove_items(request: Request) -> Response:
    """Remove `_indexes_` for all groups; with `_trunc_=true`, everything before `_index_`."""
    return await _perform(request)


async def _perform(request: Request) -> Response:
    target = target_of(request)
    query = Query.of(request)
    operation = select_operation(request.method, query)
    try:
        return await _OPERATIONS[operation](request, target, query)
    except Exception as error:
        if operation in _UNSEEN:
            _log.warning("%s of queue %r was refused: %s", operation, target.name, error)
        raise


@router.websocket(ADDRESS)
async def predict_socket(socket: WebSocket) -> None:
    """The watch."""
    target = target_of(socket)
    query = Query.of(socket)
    if not query.flag("_watch_"):
        raise ApiError(400, "A WebSocket on this address must ask for _watch_=true.")
    await Watch(socket, target, query).run(SocketTransport(socket))


async def _put(request: Request, target: Target, query: Query) -> Response:
    settings = gateway_of(request).settings
    limit, setting = settings.payload_limit(target.name)
    data = await read_body(request, limit, setting=setting)
    once = await once_of(request, data, path=target.path, tags=query.tags)
    if target.name == "in":
        placed = await put_task(request, data, path=target.path, query=query, once=once)
    else:
        queue = gateway_of(request).queue
        # An id that the client chose may be there already, and the queue stores an id once.
        chosen = request.state.request_id_chosen
        request_id = str(uuid.uuid4()) if chosen else request_id_of(request)
        placed = await gateway_of(request).claims.run(
            data,
            lambda body: target.stream(queue).append(
                body,
                request_id=request_id,
                tags=dict(query.tags),
                priority=priority_of(query, request.headers.get(PRIORITY_HEADER)),
                max_length=settings.sink_max_length,
                max_bytes=settings.sink_max_bytes,
                evict=settings.queue_sink_auto_evict and target.name == "sink",
                once=once,
            ),
        )
    return PlainTextResponse(str(placed.index), headers={REQUEST_ID_HEADER: placed.request_id})


async def _get(request: Request, target: Target, query: Query) -> Response:
    codec = negotiate(request.headers.get("accept"))
    raw = query.flag("_raw_")
    entries = await reading.get(request, target, query, single=raw)
    if not entries:
        # One poll serves the Java SDK this way: it takes any status but 200 for a failure.
        return Response(media_type=codec.content_type) if codec is PROTOBUF else Response(status_code=204)
    if raw:
        headers = {REQUEST_ID_HEADER: entries[0].request_id}
        return Response(entries[0].data, headers=headers, media_type="application/octet-stream")
    return Response(codec.frames(entries), media_type=codec.content_type)


async def _attributes(request: Request, target: Target, query: Query) -> Response:
    gateway = gateway_of(request)
    settings = gateway.settings
    codec = negotiate(request.headers.get("accept"))
    found = await gateway.queue.run(target.stream(gateway.queue).attributes())
    own = "queue" if target.name == "in" else "sink"  # what clients put into the rear has the sink's limits
    name = settings.service if target.name == "in" else f"{settings.service}/{target.name}"
    rendered = render_attributes(
        found,
        name=name,
        max_length=getattr(settings, f"{own}_max_length"),
        max_bytes=getattr(settings, f"{own}_max_bytes"),
        max_payload_bytes=settings.payload_limit(target.name)[0],
    )
    return Response(codec.attributes(rendered), media_type=codec.content_type)


async def _search(request: Request, target: Target, query: Query) -> Response:
    queue = gateway_of(request).queue
    group = consumer_of(request).group
    found = await queue.run(target.stream(queue).search(query.start(), group=group))
    if found is None:  # the SDKs look for exactly this text
        return PlainTextResponse("no data in stream", 404)
    return JSONResponse(
        {"ConsumerId": found.consumer_id, "IsPending": found.pending, "WaitCount": found.ahead}
    )


async def _count(request: Request, target: Target, query: Query) -> Response:
    queue = gateway_of(request).queue
    stream = target.stream(queue)
    request_id, tags = query.wanted()
    if "_priority_" not in query and not tags and request_id is None:
        count: int = await queue.run(stream.count())
        return PlainTextResponse(str(count))
    priority = priority_of(query, None) if "_priority_" in query else None
    total, start = 0, 0
    while True:
        page = await queue.run(
            stream.get(start=start, limit=100, request_id=request_id, tags=tags, data=False)
        )
        total += sum(priority is None or entry.priority == priority for entry in page.entries)
        if len(page.entries) == 100:
            start = page.entries[-1].index + 1
        elif page.next_index:
            start = page.next_index
        else:
            return PlainTextResponse(str(total))


async def _commit(request: Request, target: Target, query: Query) -> Response:
    queue = gateway_of(request).queue
    indexes = query.indexes()
    if indexes:
        await queue.run(target.stream(queue).commit(indexes, group=consumer_of(request).group))
    return PlainTextResponse("OK")


async def _delete(request: Request, target: Target, query: Query) -> Response:
    queue = gateway_of(request).queue
    indexes = query.indexes()
    if indexes:
        await queue.run(target.stream(queue).delete(indexes))
    return PlainTextResponse("OK")


async def _truncate(request: Request, target: Target, query: Query) -> Response:
    if "_index_" not in query:
        raise ApiError(400, "_index_: truncate removes every item before this index; name it")
    queue = gateway_of(request).queue
    before = query.number("_index_", default=0, low=0, high=2**53 - 1)
    # Batches, so that a long queue does not hold Redis up for everybody else.
    while await queue.run(target.stream(queue).truncate(before)) == TRUNCATE_BATCH:
        pass
    return PlainTextResponse("OK")


async def _negative_commit(request: Request, target: Target, query: Query) -> Response:
    gateway = gateway_of(request)
    indexes = query.indexes()
    complaint = await read_complaint(request)
    if indexes:
        given_up = complaint.outcome()
        call = target.stream(gateway.queue).reject(
            indexes,
            group=consumer_of(request).group,
            uid=request.headers.get(UID_HEADER) or None,
            # Not the request's id: a client may send one id with several calls.
            call_id=uuid.uuid4().hex,
            error=complaint.text,
            exits=complaint.exits,
            max_delivery=gateway.settings.max_delivery,
            data=given_up.data,
            tags=given_up.tags,
            rear=gateway.settings.dead_message_policy == "Rear",
        )
        await gateway.queue.run(call)
    return PlainTextResponse("OK")


async def _end_of_stream(request: Request, target: Target, query: Query) -> Response:
    queue = gateway_of(request).queue
    stream, force, start = target.stream(queue), query.flag("_force_"), 0
    while True:
        end = await queue.run(stream.end(force=force, start=start))
        if not end.next_index:
            return PlainTextResponse("OK")
        start = end.next_index


async def _watch(request: Request, target: Target, query: Query) -> Response:
    return WatchStream(Watch(request, target, query))


_OPERATIONS: dict[str, Operation] = {
    "put": _put,
    "get": _get,
    "attrs": _attributes,
    "search": _search,
    "count": _count,
    "commit": _commit,
    "delete": _delete,
    "truncate": _truncate,
    "watch": _watch,
    "negative_commit": _negative_commit,
    "end_of_stream": _end_of_stream,
}

_UNSEEN = {"truncate", "end_of_stream"}
"""The Java SDK never tells its user that one of these failed, so the log does."""
