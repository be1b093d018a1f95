"""The sweeper: watchers that vanished give their items back."""

from __future__ import annotations

import logging

from easel_gateway.duties.duty import Duty
from easel_queue import AsyncQueue

_log = logging.getLogger(__name__)


class Sweeper(Duty):
    """Takes items back from watchers whose gateway died before it could."""

    def __init__(self, queue: AsyncQueue, *, interval_s: float) -> None:
        super().__init__(interval_s)
        self._queue = queue

    async def round(self) -> None:
        """Look once at all three queues."""
        for calls in (self._queue.sink, self._queue.source, self._queue.rear):
            returned = await self._queue.run(calls.sweep())
            if returned:
                _log.warning("%d items of vanished watchers are delivered again", returned)
