"""The reaper: tasks whose worker vanished or took too long go back to the line, or are given up."""

from __future__ import annotations

import logging
import math

from easel_gateway.duties.duty import Duty
from easel_gateway.outcomes import worker_died
from easel_queue import AsyncQueue, LeaseLostError, Task

_log = logging.getLogger(__name__)

BATCH = 100


class Reaper(Duty):
    """Looks for expired leases, and for deliveries that take longer than `max_idle_s` (0: no limit). The
    queue decides which tasks get another delivery; the exhausted ones are buried here with a result that
    says why."""

    def __init__(
        self,
        queue: AsyncQueue,
        *,
        name: str,
        interval_s: float,
        max_delivery: int,
        max_idle_s: float = 0.0,
        rear: bool = True,
    ) -> None:
        super().__init__(interval_s)
        self._max_idle_ms = math.ceil(max_idle_s * 1000)
        self._rear = rear
        self._queue = queue
        self._name = name
        self._max_delivery = max_delivery

    async def round(self) -> None:
        """One look. Comes back at once when a full batch was found, since there may be more."""
        while True:
            reaped = await self._queue.run(
                self._queue.tasks.reap(
                    reaper=self._name,
                    max_delivery=self._max_delivery,
                    limit=BATCH,
                    max_idle_ms=self._max_idle_ms,
                )
            )
            if reaped.requeued:
                _log.warning("%d tasks of vanished or slow workers wait again", reaped.requeued)
            for task in reaped.exhausted:
                await self._end(task)
            if reaped.requeued + reaped.cancelled + len(reaped.exhausted) < BATCH:
                return

    async def _end(self, task: Task) -> None:
        calls = self._queue.tasks
        try:
            outcome, text = worker_died(task)
            await self._queue.run(
                calls.fail(
                    # The queue has noted with the task how its last delivery ended.
                    task,
                    error="",
                    data=outcome.data,
                    tags=outcome.tags,
                    max_delivery=self._max_delivery,
                    rear=self._rear,
                )
            )
            _log.error("task %d (%s) is dead: %s", task.index, task.request_id, text)
        except LeaseLostError:
            # Another gateway's reaper was faster.
            _log.info("task %d was ended elsewhere", task.index)
