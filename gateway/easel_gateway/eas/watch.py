"""The WebSocket watch: push a queue's items to one consumer, never more than its window uncommitted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Sequence

from starlette.websockets import WebSocket, WebSocketDisconnect

from easel_gateway.eas.codecs import Codec, negotiate
from easel_gateway.eas.query import Query
from easel_gateway.eas.target import Consumer, Target, consumer_of
from easel_gateway.gateway import Gateway, gateway_of
from easel_queue import (
    REQUEST_ID_TAG,
    DuplicateWatcherError,
    Entry,
    QueueError,
    QueueUnavailableError,
    WatcherFencedError,
)

_log = logging.getLogger(__name__)

MAX_WINDOW = 10_000
TAKEN_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)
"""A client that closed its socket and watches again at once may overtake the end of its first watch; so a
taken uid is tried again for 0.8 s before it is refused. That also slows SDKs that reconnect in a loop."""
BATCH = 16
"""Most items fetched in one step: large results would otherwise pile up in memory for a slow reader."""


async def watch(socket: WebSocket, target: Target, query: Query) -> None:
    """Serve one watcher until it goes, is fenced, or the server stops.

    Raises:
        DuplicateWatcherError: before the socket is accepted, when a live watcher has this group and uid.
        ApiError: 400 before it is accepted, for a wrong parameter.
    """
    gateway = gateway_of(socket)
    consumer = consumer_of(socket)
    watcher = _Watcher(gateway, socket, target, consumer, query)
    await watcher.join(query)
    try:
        await socket.accept()
        with gateway.metrics.sockets.track_inprogress():
            await watcher.serve()
    finally:
        # Shielded: the uid must be free at once, even when this handler is being cancelled.
        await asyncio.shield(watcher.leave())


class _Watcher:
    def __init__(
        self, gateway: Gateway, socket: WebSocket, target: Target, consumer: Consumer, query: Query
    ) -> None:
        self._gateway = gateway
        self._queue = gateway.queue
        self._socket = socket
        self._target = target
        self._calls = target.stream(gateway.queue)
        self._consumer = consumer
        self._connection = uuid.uuid4().hex
        self._codec: Codec = negotiate(socket.headers.get("accept"))
        self._window = query.number("_window_", default=1, low=1, high=MAX_WINDOW)
        self._index_only = query.flag("_index_only_")
        self._auto_commit = query.flag("_auto_commit_")
        self._ttl_ms = int(gateway.settings.watcher_ttl_s * 1000)
        self._refresh_s = gateway.settings.watcher_ttl_s / 3

    async def join(self, query: Query) -> None:
        request_id, tags = query.wanted()
        if request_id is not None:
            tags[REQUEST_ID_TAG] = request_id
        call = self._calls.join(
            group=self._consumer.group,
            uid=self._consumer.uid,
            connection=self._connection,
            window=self._window,
            start=query.start(),
            index_only=self._index_only,
            auto_commit=self._auto_commit,
            tags=tags,
            ttl_ms=self._ttl_ms,
        )
        for pause in TAKEN_PAUSES_S:
            with contextlib.suppress(DuplicateWatcherError):
                await self._queue.run(call)
                return
            await asyncio.sleep(pause)
        await self._queue.run(call)

    async def leave(self) -> None:
        try:
            await self._queue.run(
                self._calls.leave(
                    group=self._consumer.group, uid=self._consumer.uid, connection=self._connection
                )
            )
        except (QueueError, QueueUnavailableError) as error:
            # Redis is away: the sweeper gives the items back when the watcher's time is over.
            _log.warning("watcher %s could not leave: %s", self._consumer, error)

    async def serve(self) -> None:
        """Push until the peer is gone. A parallel reader notices its close or EOF at once."""
        peer_gone = asyncio.create_task(self._read_until_gone())
        pushing = asyncio.create_task(self._push())
        try:
            await asyncio.wait({peer_gone, pushing}, return_when=asyncio.FIRST_COMPLETED)
            if pushing.done() and not peer_gone.done():
                await self._close(pushing)
        finally:
            for task in (peer_gone, pushing):
                task.cancel()
            await asyncio.gather(peer_gone, pushing, return_exceptions=True)

    async def _close(self, pushing: asyncio.Task[None]) -> None:
        """End a socket whose pushing ended first; clients reconnect whatever the code says."""
        error = pushing.exception()
        if isinstance(error, WatcherFencedError):
            await self._socket.close(1008, "another connection took this uid over")
        elif isinstance(error, WebSocketDisconnect):
            return
        elif error is not None:
            raise error
        else:
            await self._socket.close(1001, "server stops")

    async def _read_until_gone(self) -> None:
        while (await self._socket.receive())["type"] != "websocket.disconnect":
            pass  # what a watcher says means nothing

    async def _push(self) -> None:
        with self._gateway.hub.on_queue(self._target.name) as signal:
            while not self._gateway.closing.is_set():
                entries = await self._deliver(BATCH)
                for entry in entries:
                    await self._send(self._codec.frame(entry, index_only=self._index_only))
                if entries and self._auto_commit:
                    await self._commit(entries)
                if not entries:
                    await signal.wait(self._refresh_s)

    async def _send(self, frame: bytes) -> None:
        """Put one frame on the wire. A slow reader may block this for long: meanwhile say that it lives."""
        sending = asyncio.ensure_future(self._socket.send_bytes(frame))
        try:
            while not (await asyncio.wait({sending}, timeout=self._refresh_s))[0]:
                await self._deliver(0)
            sending.result()
        finally:
            sending.cancel()

    async def _deliver(self, limit: int) -> Sequence[Entry]:
        return await self._queue.run(
            self._calls.deliver(
                group=self._consumer.group,
                uid=self._consumer.uid,
                connection=self._connection,
                limit=limit,
            )
        )

    async def _commit(self, entries: Sequence[Entry]) -> None:
        indexes = [entry.index for entry in entries]
        await self._queue.run(self._calls.commit(indexes, group=self._consumer.group))
