"""The watch: push a queue's items to one consumer, never more than its window uncommitted.

What a watch does is here, once; how its frames travel (WebSocket, HTTP stream) is a `Transport`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Sequence
from enum import Enum
from typing import Any, NoReturn, Protocol, TypeVar

from starlette.requests import HTTPConnection

from easel_gateway.bodies import whole_one
from easel_gateway.eas.codecs import Codec, negotiate
from easel_gateway.eas.query import Query
from easel_gateway.eas.target import Target, consumer_of
from easel_gateway.gateway import gateway_of
from easel_queue import (
    REQUEST_ID_TAG,
    Delivery,
    DuplicateWatcherError,
    Entry,
    QueueError,
    QueueUnavailableError,
    StreamEndedError,
    Turn,
    WatcherFencedError,
)
from easel_store import StoreError

_log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WINDOW = 10_000
TAKEN_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)
"""A client that closed its connection and watches again at once may overtake the end of its first watch; so a
taken uid is tried again for 0.8 s before it is refused. That also slows SDKs that reconnect in a loop."""
BATCH = 16
"""Most items fetched in one step; `DELIVER_BYTES` bounds them too. A slow reader's memory is no more."""

REFRESHES = 3
"""How often a watcher says that it lives, within the time after which it counts as gone."""

END_PATIENCE_S = 5.0
"""How long a peer that reads nothing may hold up the end of its watch."""


class Ending(str, Enum):
    """Why the server ends a watch."""

    COMPLETE = "end of stream"
    TAKEN_OVER = "another connection took this uid over"
    STOPPING = "server stops"
    AWAY = "Redis does not answer"
    STORE_AWAY = "storage does not answer"


class Transport(Protocol):
    """The wire of one watch."""

    async def open(self) -> None:
        """Tell the client that the watch has begun."""

    async def send(self, frame: bytes) -> None:
        """Put one frame on the wire; blocks while the peer does not read."""

    async def gone(self) -> None:
        """Come back when the peer has closed or vanished."""

    async def end(self, ending: Ending) -> None:
        """Close from our side."""


class Watch:
    """One watcher, from its query to its end.

    Raises:
        ApiError: 400 for a wrong parameter.
    """

    def __init__(self, connection: HTTPConnection, target: Target, query: Query) -> None:
        gateway = gateway_of(connection)
        self.codec: Codec = negotiate(connection.headers.get("accept"))
        self._gateway = gateway
        self._queue = gateway.queue
        self._target = target
        self._calls = target.stream(gateway.queue)
        self._consumer = consumer_of(connection)
        self._connection = uuid.uuid4().hex
        self._start = query.start()
        self._window = query.number("_window_", default=1, low=1, high=MAX_WINDOW)
        self._index_only = query.flag("_index_only_")
        self._auto_commit = query.flag("_auto_commit_")
        request_id, self._tags = query.wanted()
        if request_id is not None:
            self._tags[REQUEST_ID_TAG] = request_id
        self._sent: list[int] = []
        self._ttl_ms = int(gateway.settings.watcher_ttl_s * 1000)
        self._refresh_s = gateway.settings.watcher_ttl_s / REFRESHES

    async def run(self, transport: Transport) -> None:
        """Serve until the peer goes, the stream is over, the uid is taken over, or the server stops.

        Raises:
            DuplicateWatcherError: before the transport is opened, when a live watcher has this group and uid.
            StreamEndedError: before it is opened, when the stream has ended and nothing is left for it.
        """
        await self._join()
        consumer = self._consumer
        try:
            with self._gateway.hub.on_watch(
                self._target.name, group=consumer.group, uid=consumer.uid
            ) as turn:
                first = await self._look(turn)
                await transport.open()
                with self._gateway.metrics.sockets.track_inprogress():
                    await self._serve(transport, turn, first)
        finally:
            # Shielded: the uid must be free at once, even when this handler is being cancelled.
            await asyncio.shield(self._leave())

    async def _join(self) -> None:
        call = self._calls.join(
            group=self._consumer.group,
            uid=self._consumer.uid,
            connection=self._connection,
            window=self._window,
            start=self._start,
            index_only=self._index_only,
            auto_commit=self._auto_commit,
            tags=self._tags,
            ttl_ms=self._ttl_ms,
        )
        for pause in TAKEN_PAUSES_S:
            with contextlib.suppress(DuplicateWatcherError):
                await self._queue.run(call)
                return
            await asyncio.sleep(pause)
        await self._queue.run(call)

    async def _leave(self) -> None:
        try:
            # A client may close in the moment in which it has what it wants, before that is committed.
            await self._settle()
            await self._queue.run(
                self._calls.leave(
                    group=self._consumer.group, uid=self._consumer.uid, connection=self._connection
                )
            )
        except (QueueError, QueueUnavailableError) as error:
            # Redis is away: the sweeper gives the items back when the watcher's time is over.
            _log.warning("watcher %s could not leave: %s", self._consumer, error)

    async def _serve(self, transport: Transport, turn: Turn, first: Delivery) -> None:
        """Push until the peer is gone. A parallel reader notices its close or EOF at once."""
        peer_gone = asyncio.ensure_future(transport.gone())
        pushing = asyncio.ensure_future(self._push(transport, turn, first))
        stopping = asyncio.ensure_future(self._gateway.closing.wait())
        ended: asyncio.Future[None] | None = None
        try:
            await asyncio.wait({peer_gone, pushing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not peer_gone.done():
                ending = _ending(pushing) if pushing.done() else Ending.STOPPING
                await _stop(pushing)
                # Left before the client hears of it: it may be back before we are done here.
                await self._leave()
                ended = asyncio.ensure_future(transport.end(ending))
                # Who does not read cannot be told.
                await asyncio.wait(
                    {peer_gone, ended}, timeout=END_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            await _stop(peer_gone, pushing, stopping, *([ended] if ended else []))

    async def _push(self, transport: Transport, turn: Turn, delivery: Delivery) -> NoReturn:
        while True:
            await self._send(transport, delivery)
            # A look that finds nothing costs Redis a script and a sync of its file, as any other.
            more = delivery and delivery.left and delivery.room
            if not more:
                await turn.wait(self._refresh_s)
            delivery = await self._look(turn)

    async def _look(self, turn: Turn) -> Delivery:
        turn.begin()
        delivery = await self._deliver(BATCH)
        turn.looked(delivery)
        return delivery

    async def _send(self, transport: Transport, entries: Sequence[Entry]) -> None:
        """Put items on the wire in their order, and commit them if that was asked for.

        Large bodies are fetched side by side; none holds up an item that is before it.
        """
        claims = self._gateway.claims
        fetching = {
            entry.index: asyncio.ensure_future(whole_one(claims, entry)) for entry in entries if entry.claim
        }
        try:
            for entry in entries:
                full = await self._living(fetching[entry.index]) if entry.claim else entry
                await self._living(self._transmit(transport, full))
        finally:
            await _stop(*fetching.values())
        await self._settle()

    async def _living(self, work: Awaitable[T]) -> T:
        """Wait for what a slow reader or store may hold up for long; say meanwhile that the watcher lives."""
        doing = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({doing}, timeout=self._refresh_s))[0]:
                await self._deliver(0)
            return doing.result()
        finally:
            doing.cancel()

    async def _deliver(self, limit: int) -> Delivery:
        return await self._queue.run(
            self._calls.deliver(
                group=self._consumer.group,
                uid=self._consumer.uid,
                connection=self._connection,
                limit=limit,
            )
        )

    async def _transmit(self, transport: Transport, entry: Entry) -> None:
        await transport.send(self.codec.frame(entry, index_only=self._index_only))
        if self._auto_commit:
            self._sent.append(entry.index)

    async def _settle(self) -> None:
        """Commit what was sent to a watcher that commits nothing itself."""
        if self._sent:
            indexes = tuple(self._sent)
            await self._queue.run(self._calls.commit(indexes, group=self._consumer.group))
            del self._sent[: len(indexes)]


async def _stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for their end. Again and again: redis-py swallows a cancellation while it
    connects, and a watch that lived on would hold its uid for ever."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.1)
    await asyncio.gather(*tasks, return_exceptions=True)  # no exception of theirs goes unseen


def _ending(pushing: asyncio.Future[NoReturn]) -> Ending:
    """Why pushing came to an end by itself. Raises what is no ordinary end."""
    error = pushing.exception()
    if error is None:
        raise AssertionError("pushing ends with an error only")
    if isinstance(error, StreamEndedError):
        return Ending.COMPLETE
    if isinstance(error, WatcherFencedError):
        return Ending.TAKEN_OVER
    if isinstance(error, QueueUnavailableError):
        _log.warning("a watch ends: %s", error)
        return Ending.AWAY
    if isinstance(error, StoreError):
        _log.warning("a watch ends: %s", error)
        return Ending.STORE_AWAY
    raise error
