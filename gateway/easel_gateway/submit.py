"""Putting a request on the queue, and waiting for its result: shared by every dialect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from easel_contract.requests import GenerationRequest
from easel_contract.results import CANCELLED_STATUS, code_of
from easel_gateway.bodies import whole
from easel_gateway.cancelling import abandon_task
from easel_gateway.eas.query import Query
from easel_gateway.eas.target import PRIORITY_HEADER, REQUEST_ID_HEADER
from easel_gateway.edge.guards import header
from easel_gateway.edge.hang_up import watch_hang_up
from easel_gateway.errors import ApiError
from easel_gateway.gateway import Gateway, gateway_of, request_id_of, user_of
from easel_gateway.outcomes import evicted
from easel_gateway.sharing import kin_of, origin_of
from easel_queue import (
    Entry,
    Eviction,
    Once,
    Placed,
    QueueFullError,
    QueueUnavailableError,
    Reply,
    SinkFullError,
    StreamEndedError,
    TaskEvents,
    TooFastError,
    TooLargeError,
    UserFullError,
)
from easel_store import StoreError

_log = logging.getLogger(__name__)

ALIVE = {"waiting", "running", "progress", "preview"}

LOOK_AGAIN_S = 5.0
"""A waiting call looks at its task this often even when no event came: events are hints and may be lost."""
MAX_PRIORITY = 511
_PRIORITY = PRIORITY_HEADER.lower().encode()
KEY_TEXT = "Idempotency-Key (or force_task_id): this key"


class TaskGoneError(ApiError):
    """A task that is not stored any more has no reply either."""

    def __init__(self) -> None:
        super().__init__(410, "The task was deleted from the queue before it was done.")


def priority_of(query: Query, shown: str | None) -> int:
    """``_priority_`` of the query, else what the header says that the attributes name; 0 is normal, more goes
    first."""
    merged = query if "_priority_" in query or not shown else Query({"_priority_": shown}, {})
    return merged.number("_priority_", default=0, low=0, high=MAX_PRIORITY)


async def put_task(
    request: Request,
    data: bytes,
    *,
    path: str,
    query: Query,
    once: Once | None = None,
    wanted: GenerationRequest | None = None,
) -> Placed:
    """Store a task whose result goes to the sink. Its id is the request's; its tags are the query's.

    Under an idempotency key that is known it stores nothing and answers the first put's index and id.
    `wanted` is the body where it has been read already.

    Raises:
        QueueFullError, TooLargeError, UserFullError, TooFastError, StreamEndedError, KeyReusedError,
            RequestIdTakenError: nothing was stored.
        ApiError: 409, see `refuse_known_id`, or when the key is a synchronous call's.
    """
    priority = priority_of(query, header(request.scope, _PRIORITY))
    if once is None:
        await refuse_known_id(request)
    placed = await _store(
        request, data, wanted, path=path, tags=query.tags, priority=priority, reply=Reply.SINK, once=once
    )
    if placed.repeated and placed.reply is not Reply.SINK:
        raise ApiError(
            409,
            f"{KEY_TEXT} was used for a synchronous call, whose result never reaches the sink; repeat that "
            "call, or choose a new key.",
        )
    return placed


async def keep_task(
    request: Request, data: bytes, *, path: str, wanted: GenerationRequest | None, request_id: str
) -> Placed:
    """Store a task whose result is kept for a week, for a caller that comes back. Raises as `put_task`."""
    return await _store(
        request,
        data,
        wanted,
        path=path,
        tags={},
        priority=0,
        reply=Reply.KEPT,
        once=None,
        request_id=request_id,
    )


async def _store(
    request: Request,
    data: bytes,
    wanted: GenerationRequest | None,
    *,
    path: str,
    tags: Mapping[str, str],
    priority: int,
    reply: Reply,
    once: Once | None,
    request_id: str = "",
) -> Placed:
    gateway = gateway_of(request)
    settings = gateway.settings
    gone = evicted() if settings.queue_source_auto_evict else None
    origin = origin_of(request, wanted)
    kin = kin_of(request, data, path, wanted)
    names = names_of(wanted)
    content_type = header(request.scope, b"content-type") or ""
    placed = await gateway.claims.run(
        data,
        lambda body: gateway.queue.tasks.put(
            body,
            request_id=request_id or request_id_of(request),
            tags=dict(tags),
            meta={
                "path": path,
                "user": origin.user,
                "content_type": content_type,
                **({"id_task": names[0]} if names else {}),
            },
            priority=priority,
            reply=reply,
            max_length=settings.queue_max_length,
            max_bytes=settings.queue_max_bytes,
            sink_max_length=settings.sink_max_length,
            sink_max_bytes=settings.sink_max_bytes,
            sink_evict=settings.queue_sink_auto_evict,
            evict=Eviction(gone.data, gone.tags) if gone else None,
            once=once,
            origin=origin,
            kin=kin,
        ),
    )
    for name in names:
        await _name_task(gateway, placed.request_id, name, user=user_of(request))
    return placed


def names_of(wanted: GenerationRequest | None) -> list[str]:
    """The ids by which the sender knows the task; first the one that A1111's clients ask after."""
    given = (wanted.force_task_id, wanted.options.id_task) if wanted else ()
    return list(dict.fromkeys(name for name in given if name))


async def _name_task(gateway: Gateway, request_id: str, name: str, *, user: str) -> None:
    """Let the task be found by its sender's id. It is stored already, so without that it goes on as well."""
    try:
        await gateway.queue.run(gateway.queue.tasks.name(request_id, name, user=user))
    except QueueUnavailableError as error:
        _log.warning("task %s will not be found by its sender's id: %s", request_id, error)


async def refuse_known_id(request: Request) -> None:
    """Refuse a task under an ``X-Request-Id`` that already is a task's.

    The queue would take it for a repetition and store nothing, so a proxy that hands one id on to several
    requests would lose all but the first without a word.

    Raises:
        ApiError: 409.
    """
    if not request.scope["state"]["request_id_chosen"]:
        return
    gateway = gateway_of(request)
    known = await gateway.queue.run(gateway.queue.tasks.status(request_id_of(request)))
    if known is not None:
        raise ApiError(
            409, f"X-Request-Id: a task of this id exists already (index {known.index}); choose another."
        )


async def call_task(
    request: Request,
    data: bytes,
    *,
    path: str,
    once: Once | None = None,
    wanted: GenerationRequest | None = None,
) -> Response:
    """Store a task, wait for its result and answer with it: what a synchronous call does.

    The status is the result's tag ``lastCode`` (absent: 200). When the client hangs up its task is cancelled,
    unless a setting keeps it or the call has an idempotency key: then it may be asked for again, and a
    repetition waits for the first call's result and answers with it.

    Raises:
        QueueFullError, SinkFullError, TooLargeError, UserFullError, TooFastError, StreamEndedError,
            KeyReusedError, RequestIdTakenError: nothing was stored.
        ApiError: 408 after the configured time, 409 (see `refuse_known_id`, or no result to give for the
            key), 410 when the task was deleted.
    """
    gateway = gateway_of(request)
    if once is None:
        await refuse_known_id(request)
    answered = once is not None
    try:
        async with watch_hang_up(request) as hang_up:
            timeout = gateway.settings.sync_timeout_s or None
            reply = await asyncio.wait_for(
                hang_up.race(_put_and_wait(request, data, wanted, path, once)), timeout
            )
        if reply is None:
            answered = answered or not gateway.settings.cancel_on_disconnect
            return Response(status_code=CANCELLED_STATUS)  # nobody reads it; metrics count it
        answered = True
    except (
        QueueFullError,
        SinkFullError,
        TooLargeError,
        UserFullError,
        TooFastError,
        StreamEndedError,
    ):
        answered = True  # there is no task to cancel
        raise
    except asyncio.TimeoutError:
        fate = "it goes on: repeat the call" if once else "it is cancelled"
        raise ApiError(
            408, f"Not done after {gateway.settings.sync_timeout_s:g} s (EASEL_SYNC_TIMEOUT_S); {fate}."
        ) from None
    finally:
        if not answered:
            # Shielded: this also runs while a stopping server cancels the handler.
            await asyncio.shield(abandon_task(gateway, request_id_of(request)))
    return Response(
        reply.data,
        status_code=code_of(reply.tags),
        media_type="application/json",
        headers={REQUEST_ID_HEADER: reply.request_id},
    )


async def _put_and_wait(
    request: Request, data: bytes, wanted: GenerationRequest | None, path: str, once: Once | None
) -> Entry:
    gateway = gateway_of(request)
    request_id = request_id_of(request)
    with gateway.hub.on_task(request_id) as events:
        placed = await _store(
            request, data, wanted, path=path, tags={}, priority=0, reply=Reply.DIRECT, once=once
        )
        if not placed.repeated:
            return await _wait(gateway, request_id, events)
    if placed.reply is not Reply.DIRECT:
        raise ApiError(
            409,
            f"{KEY_TEXT} was used for a queued call (index {placed.index}), whose result goes to the sink.",
        )
    with gateway.hub.on_task(placed.request_id) as events:
        try:
            # It may have ended long ago: look before waiting for a sign.
            reply = await _look(gateway, placed.request_id)
            return reply or await _wait(gateway, placed.request_id, events)
        except TaskGoneError:
            raise ApiError(
                409,
                f"{KEY_TEXT} belongs to a call that is over (task {placed.request_id}), and its result is "
                "kept for ten minutes only. Choose a new key to render again.",
            ) from None


async def _wait(gateway: Gateway, request_id: str, events: TaskEvents) -> Entry:
    """The reply, when it is there."""
    while True:
        event = await events.next(LOOK_AGAIN_S)
        if event is not None and event.get("s") in ALIVE:
            continue
        try:
            reply = await _look(gateway, request_id)
        except (QueueUnavailableError, StoreError) as error:
            # The task is stored and outlives a restart of either, so the caller may as well wait for it.
            _log.warning("task %s: its caller waits: %s", request_id, error)
            continue
        if reply is not None:
            return reply


async def _look(gateway: Gateway, request_id: str) -> Entry | None:
    """The reply if it is there; None while the task lives. Raises TaskGoneError when neither is so."""
    tasks = gateway.queue.tasks
    reply = await _take(gateway, request_id)
    if reply is not None:
        return reply
    status = await gateway.queue.run(tasks.status(request_id))
    if status is not None and not status.state.ended:
        return None
    # It may have ended between the two reads; then its reply is there now.
    reply = await _take(gateway, request_id)
    if reply is None:
        raise TaskGoneError()
    return reply


async def _take(gateway: Gateway, request_id: str) -> Entry | None:
    """The reply with its body, if it is there. A large body is fetched before the reply is gone."""
    take = gateway.queue.tasks.take_reply
    reply = await gateway.queue.run(take(request_id))
    if reply is None or reply.claim is None:
        return reply
    (reply,) = await whole(gateway.claims, [reply])
    try:
        await gateway.queue.run(take(request_id, fetched=True))
    except QueueUnavailableError as error:
        _log.warning("task %s: its reply is left to expire: %s", request_id, error)
    return reply
