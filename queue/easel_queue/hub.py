"""What wakes whoever waits in a gateway process for something to change.

What arrives is a hint. The order that loses nothing: register, read the state with a call, then wait, then
read again. After a reconnect everybody is woken, because messages may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from easel_queue.client import AsyncQueue
from easel_queue.feed import Feed
from easel_queue.keys import INPUT, REAR, SINK, safe
from easel_queue.turns import Turn, Turns

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
    """Listens to a service's events and passes them on inside this process.

    That a task was put concerns few: who watches or waits at the input queue, or for the task itself. So it
    is told on a channel of its own, which this process listens to while it has one of them.
    """

    def __init__(self, queue: AsyncQueue) -> None:
        self._signals: defaultdict[str, set[Signal]] = defaultdict(set)
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._tasks: defaultdict[str, set[TaskEvents]] = defaultdict(set)
        self._running = contextlib.ExitStack()
        self._changes = Feed(queue, queue.keys.events, self._dispatch, self._resync)
        self._arrivals = Feed(queue, queue.keys.arrivals, self._dispatch, self._resync_arrivals)

    async def start(self) -> None:
        """Begin to listen. Returns at once; until Redis answers, waiters live on their time-outs."""
        self._running.enter_context(self._changes.wanted())

    async def stop(self) -> None:
        """Stop listening."""
        self._running.close()
        await self._changes.stop()
        await self._arrivals.stop()

    async def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the subscription stands. Raises asyncio.TimeoutError."""
        await asyncio.wait_for(self._changes.ready(), timeout_s)

    @contextlib.contextmanager
    def on_queue(self, queue: str) -> Iterator[Signal]:
        """A signal that is set whenever `queue` (`in`, `sink`, `rear`) got an item or a window got room."""
        signal = Signal()
        self._signals[queue].add(signal)
        try:
            with self._with_arrivals(queue == INPUT):
                yield signal
        finally:
            self._signals[queue].discard(signal)

    @contextlib.contextmanager
    def on_watch(self, queue: str, *, group: str, uid: str) -> Iterator[Turn]:
        """A watcher's turns to look at `queue`: of a group's watchers here one is called for a new item."""
        turns, gid = self._turns[queue], safe(group)
        turn = turns.enter(gid, safe(uid))
        try:
            with self._with_arrivals(queue == INPUT):
                yield turn
        finally:
            turns.leave(gid, turn)

    @contextlib.contextmanager
    def on_task(self, request_id: str, *, arrival: bool = False) -> Iterator[TaskEvents]:
        """The events of one task: ``{"r": id, "s": state or "progress", "p": snapshot}``. That it is put is
        one of them with `arrival`, for who waits for a task that somebody else puts."""
        events = TaskEvents()
        self._tasks[request_id].add(events)
        try:
            with self._with_arrivals(arrival):
                yield events
        finally:
            self._tasks[request_id].discard(events)
            if not self._tasks[request_id]:
                del self._tasks[request_id]

    def _with_arrivals(self, wanted: bool) -> contextlib.AbstractContextManager[None]:
        return self._arrivals.wanted() if wanted else contextlib.nullcontext()

    def _dispatch(self, event: dict[str, Any]) -> None:
        queue, request_id = event.get("q"), event.get("r")
        for signal in self._signals.get(str(queue), ()):
            signal.set()
        if (turns := self._turns.get(str(queue))) is not None:
            _tell(turns, event)
        for waiting in self._tasks.get(str(request_id), ()):
            waiting.add(event)

    def _resync(self) -> None:
        for queue in (INPUT, SINK, REAR):
            self._resync_queue(queue)
        self._resync_tasks()

    def _resync_arrivals(self) -> None:
        self._resync_queue(INPUT)
        self._resync_tasks()

    def _resync_queue(self, queue: str) -> None:
        for signal in self._signals.get(queue, ()):
            signal.set()
        if (turns := self._turns.get(queue)) is not None:
            turns.call_all()

    def _resync_tasks(self) -> None:
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
