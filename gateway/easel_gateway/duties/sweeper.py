"""The sweeper: watchers that vanished give their items back."""

from __future__ import annotations

import asyncio
import logging

from easel_gateway.duties.duty import Duty
from easel_queue import AsyncQueue

_log = logging.getLogger(__name__)


class Sweeper(Duty):
    """Takes items back from watchers whose gateway died before it could.

    After this process itself stood still for longer than `refresh_s`, the pause between two signs of life of
    a watcher, it does nothing for twice that time: its own watchers, whose sockets are alive, could not say
    so while the machine was paused or starved, and shall do it first.
    """

    def __init__(self, queue: AsyncQueue, *, interval_s: float, refresh_s: float) -> None:
        super().__init__(interval_s)
        self._queue = queue
        self._refresh_s = refresh_s
        self._rested_at: float | None = None
        self._quiet_until = float("-inf")

    async def round(self) -> None:
        """Look once at all three queues."""
        clock = asyncio.get_running_loop()
        now = clock.time()
        if self._rested_at is not None and now - self._rested_at > self._interval_s + self._refresh_s:
            _log.warning("stood still for %.1f s; own watchers are heard first", now - self._rested_at)
            self._quiet_until = now + 2 * self._refresh_s
        self._rested_at = now
        if now < self._quiet_until:
            return
        for calls in (self._queue.sink, self._queue.source, self._queue.rear):
            returned = await self._queue.run(calls.sweep())
            if returned:
                _log.warning("%d items of vanished watchers are delivered again", returned)
        self._rested_at = clock.time()
