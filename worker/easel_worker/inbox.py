"""Hears at once what clients wish of the running tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable

from easel_worker.duty import Duty
from easel_worker.job import StopReason
from easel_worker.lease import LeaseKeeper
from easel_worker.steady import SteadyQueue

log = logging.getLogger(__name__)

ORDERS = ("unload", "reload")
"""Messages for the whole worker: drop the models in memory, or load a checkpoint (its name behind a space,
none for the default one)."""

WAIT_S = 0.5
"""How long one blocking read of the inbox lasts, and so the longest that stopping this thread takes."""


class Inbox(Duty):
    """Reads this worker's messages and tells the job they name, and only that one.

    ``cancel <index>``: the client wants it to end. ``drop <token>``: its lease was taken away because it took
    too long; the task may be this worker's again already, under another lease. ``interrupt <token>``: it
    should end early and keep what is done. ``skip <token> <n>``: for the nth time, its current batch should
    be cut short. ``unload`` and ``reload`` (`ORDERS`) are for the torch thread, between two tasks.

    A message for a task that already ended is ignored. What `extend` and `progress` answer is the same news
    by a slower way, should a message be lost.
    """

    name = "inbox"

    def __init__(
        self,
        queue: SteadyQueue,
        worker_id: str,
        leases: LeaseKeeper,
        on_order: Callable[[str], None],
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._worker_id = worker_id
        self._leases = leases
        self._on_order = on_order

    def body(self) -> None:
        while not self.stopping.is_set():
            message = self._queue.wait_inbox(self._worker_id, WAIT_S, self.stopping)
            if message is not None:
                self._read(message)

    def _read(self, message: str) -> None:
        if message.partition(" ")[0] in ORDERS:
            self._on_order(message)
            return
        verb, *arguments = message.split(" ")
        if not all(argument.isdigit() for argument in arguments):
            verb = ""
        match verb, [int(argument) for argument in arguments] if verb else []:
            case "cancel", [index]:
                job = self._leases.find(index)
                if job is not None and job.stop(StopReason.CANCELLED):
                    log.info("task %s: cancelled", job.request_id)
            case "drop", [token]:
                self._leases.lose(token)
            case "interrupt", [token]:
                job = self._leases.held_under(token)
                if job is not None and job.interrupt():
                    log.info("task %s: interrupted", job.request_id)
            case "skip", [token, asked]:
                job = self._leases.held_under(token)
                if job is not None and job.skip(asked):
                    log.info("task %s: its current batch is skipped", job.request_id)
            case _:
                log.warning("unknown message in the inbox: %.80r", message)
