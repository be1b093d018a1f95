"""One subscription per gateway process that wakes whoever waits for something to change.

What arrives is a hint. The order that loses nothing: register, read the state with a call, then wait, then
read again. After a reconnect everybody is woken, because messages may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError

from easel_queue.client import AsyncQueue
from easel_queue.keys import INPUT, SINK, safe
from easel_queue.turns import Turn, Turns

logger = logging.getLogger("easel.queue.hub")

RECONNECT_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between attempts to subscribe again; the last one repeats."""

IDLE_S = 15.0
"""Without a message for this long the connection is tested, so that a silent death is noticed."""

# The waits below do without wait_for: before Python 3.12 it swallows a cancellation that comes together with
# what is waited for, and a watch or a call would run on that nobody stops any more.


class Signal:
    """Set when a queue changed; `wait` clears it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """True if the queue changed since the last wait (or does within `timeout_s`)."""
        waiting = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({waiting}, timeout=timeout_s)
        finally:
            waiting.cancel()
        changed = self._event.is_set()
        self._event.clear()
        return changed


class TaskEvents:
    """What happens to one task, newest last. Keeps 100: a reader that slow has the newest state anyway."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=100)

    def add(self, event: dict[str, Any]) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(event)

    async def next(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event, or None when nothing happened in time. ``{"s": "resync"}`` means: look again."""
        getting = asyncio.ensure_future(self._queue.get())
        try:
            await asyncio.wait({getting}, timeout=timeout_s)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()


class EventHub:
    """Listens to a service's events and passes them on inside this process."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue
        self._signals: defaultdict[str, set[Signal]] = defaultdict(set)
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._tasks: defaultdict[str, set[TaskEvents]] = defaultdict(set)
        self._runner: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    async def start(self) -> None:
        """Begin to listen. Returns at once; until Redis answers, waiters live on their time-outs."""
        self._runner = asyncio.create_task(self._run(), name="easel-event-hub")

    async def stop(self) -> None:
        """Stop listening."""
        while self._runner and not self._runner.done():
            # Repeated, because redis-py swallows a cancellation that arrives while it connects.
            self._runner.cancel()
            await asyncio.wait({self._runner}, timeout=0.1)

    async def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the subscription stands. Raises asyncio.TimeoutError."""
        await asyncio.wait_for(self._subscribed.wait(), timeout_s)

    @contextlib.contextmanager
    def on_queue(self, queue: str) -> Iterator[Signal]:
        """A signal that is set whenever `queue` (`in`, `sink`, `rear`) got an item or a window got room."""
        signal = Signal()
        self._signals[queue].add(signal)
        try:
            yield signal
        finally:
            self._signals[queue].discard(signal)

    @contextlib.contextmanager
    def on_watch(self, queue: str, *, group: str, uid: str) -> Iterator[Turn]:
        """A watcher's turns to look at `queue`: of a group's watchers here one is called for a new item."""
        turns, gid = self._turns[queue], safe(group)
        turn = turns.enter(gid, safe(uid))
        try:
            yield turn
        finally:
            turns.leave(gid, turn)

    @contextlib.contextmanager
    def on_task(self, request_id: str) -> Iterator[TaskEvents]:
        """The events of one task: ``{"r": id, "s": state or "progress", "p": snapshot}``."""
        events = TaskEvents()
        self._tasks[request_id].add(events)
        try:
            yield events
        finally:
            self._tasks[request_id].discard(events)
            if not self._tasks[request_id]:
                del self._tasks[request_id]

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._queue.pubsub() as pubsub:
                    await pubsub.subscribe(self._queue.keys.events)
                    if attempt:
                        logger.info("listening to Redis again")
                    attempt = 0
                    await self._listen(pubsub)
            except (RedisError, OSError, RuntimeError) as error:
                # RuntimeError: uvloop's word for a write to a connection that was reset.
                self._subscribed.clear()
                if attempt == 0:
                    logger.warning("lost Redis (%s); trying again until it is back", error)
                await asyncio.sleep(RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])
                attempt += 1

    async def _listen(self, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(timeout=IDLE_S)
            if message is None:
                await pubsub.ping()
            elif message["type"] == "subscribe":
                self._subscribed.set()
                self._resync()
            elif message["type"] == "message":
                self._dispatch(json.loads(message["data"]))

    def _dispatch(self, event: dict[str, Any]) -> None:
        queue, request_id = event.get("q"), event.get("r")
        for signal in self._signals.get(str(queue), ()):
            signal.set()
        if (turns := self._turns.get(str(queue))) is not None:
            _tell(turns, event)
        for waiting in self._tasks.get(str(request_id), ()):
            waiting.add(event)

    def _resync(self) -> None:
        for signals in self._signals.values():
            for signal in signals:
                signal.set()
        for turns in self._turns.values():
            turns.call_all()
        for waiters in self._tasks.values():
            for waiting in waiters:
                waiting.add({"s": "resync"})


def _tell(turns: Turns, event: dict[str, Any]) -> None:
    """Call those whom an event of their queue concerns. What it does not say concerns everybody."""
    if "g" in event:
        group = turns.of(event["g"])
        if group is None:
            return
        if "w" in event:
            group.made_room(event["w"])
        else:
            group.changed()
    elif "n" in event or _brings_item(event):
        turns.changed()
    else:
        turns.call_all()


def _brings_item(event: dict[str, Any]) -> bool:
    """A task's own event that is also a new item of this queue: it was put, or its result was stored."""
    state = event.get("s")
    return state == "waiting" if event["q"] == INPUT else event["q"] == SINK and state is not None
