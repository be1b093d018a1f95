"""Hears about cancels at once."""

from __future__ import annotations

import logging
from collections.abc import Callable

from easel_worker.duty import Duty
from easel_worker.job import StopReason
from easel_worker.lease import LeaseKeeper
from easel_worker.steady import SteadyQueue

log = logging.getLogger(__name__)

WAIT_S = 0.5
"""How long one blocking read of the inbox lasts, and so the longest that stopping this thread takes."""


class Inbox(Duty):
    """Reads this worker's messages and stops the job they name, and only that one.

    ``cancel <index>``: the client wants it to end. ``drop <token>``: its lease was taken away because it took
    too long; the task may be this worker's again already, under another lease.

    A message for a task that already ended is ignored. The cancel flag that `extend` and `progress`
    answer is the same news by a slower way, should a message be lost.
    """

    name = "inbox"

    def __init__(
        self, queue: SteadyQueue, worker_id: str, leases: LeaseKeeper, on_crash: Callable[[str], None]
    ) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._worker_id = worker_id
        self._leases = leases

    def body(self) -> None:
        while not self.stopping.is_set():
            message = self._queue.wait_inbox(self._worker_id, WAIT_S, self.stopping)
            if message is not None:
                self._read(message)

    def _read(self, message: str) -> None:
        verb, _, argument = message.partition(" ")
        if verb not in {"cancel", "drop"} or not argument.isdigit():
            log.warning("unknown message in the inbox: %.80r", message)
        elif verb == "cancel":
            job = self._leases.find(int(argument))
            if job is not None and job.stop(StopReason.CANCELLED):
                log.info("task %s: cancelled", job.request_id)
        else:
            self._leases.lose(int(argument))
