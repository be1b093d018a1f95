"""The reaper: tasks whose worker vanished go back to the line, or are given up."""

from __future__ import annotations

import logging

from easel_gateway.duties.duty import Duty
from easel_gateway.outcomes import worker_died
from easel_queue import AsyncQueue, LeaseLostError, Task

_log = logging.getLogger(__name__)

BATCH = 100


class Reaper(Duty):
    """Looks for expired leases. The queue decides which tasks get another delivery; the exhausted ones
    are buried here with a result that says why."""

    def __init__(self, queue: AsyncQueue, *, name: str, interval_s: float, max_delivery: int) -> None:
        super().__init__(interval_s)
        self._queue = queue
        self._name = name
        self._max_delivery = max_delivery

    async def round(self) -> None:
        """One look. Comes back at once when a full batch was found, since there may be more."""
        while True:
            reaped = await self._queue.run(
                self._queue.tasks.reap(reaper=self._name, max_delivery=self._max_delivery, limit=BATCH)
            )
            if reaped.requeued:
                _log.warning("%d tasks of vanished workers wait again", reaped.requeued)
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
                )
            )
            _log.error("task %d (%s) is dead: %s", task.index, task.request_id, text)
        except LeaseLostError:
            # Another gateway's reaper was faster.
            _log.info("task %d was ended elsewhere", task.index)
