"""Keeps the leases of everything this worker holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from easel_queue import LeaseLostError, Renewal
from easel_worker.duty import Duty
from easel_worker.job import Job, StopReason
from easel_worker.steady import SteadyQueue

log = logging.getLogger(__name__)

RETRY_S = 0.5
"""After a round that Redis did not answer, try again this soon rather than after a third of the lease."""


class LeaseKeeper(Duty):
    """Extends every held lease at a third of its length: two extensions may fail before one is lost.

    A job is held from `hold` (right after reserve) to `drop` (after its result is written), through
    prefetch, run and publish. Losing a lease stops the job; so does a cancel flag seen on the way.
    """

    name = "lease"

    def __init__(self, queue: SteadyQueue, lease_ms: int, on_crash: Callable[[str], None]) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._lease_ms = lease_ms
        self._held: dict[int, Job] = {}
        self._lock = threading.Lock()

    def hold(self, job: Job) -> None:
        with self._lock:
            self._held[job.task.token] = job

    def drop(self, job: Job) -> None:
        with self._lock:
            self._held.pop(job.task.token, None)

    def find(self, index: int) -> Job | None:
        """The held job with this queue index."""
        with self._lock:
            return next((job for job in self._held.values() if job.task.index == index), None)

    def held_under(self, token: int) -> Job | None:
        """The job held under this lease."""
        with self._lock:
            return self._held.get(token)

    def lose(self, token: int) -> None:
        """Somebody has ended this lease: its job, if it is still held, stops and writes nothing."""
        with self._lock:
            job = self._held.pop(token, None)
        # While its result is being written, the queue's answer to that says who has the task.
        if job is not None and not job.writing and job.stop(StopReason.LEASE_LOST):
            log.warning("task %s: the lease is lost; its work is dropped", job.request_id)

    def held(self) -> list[Job]:
        with self._lock:
            return list(self._held.values())

    def body(self) -> None:
        period_s = self._lease_ms / 3000
        pause_s = period_s
        while not self.stopping.wait(pause_s):
            answered = [self._extend(job) for job in self.held()]
            pause_s = period_s if all(answered) else min(RETRY_S, period_s)

    def _extend(self, job: Job) -> bool:
        try:
            renewal = self._queue.attempt(self._queue.tasks.extend(job.task, lease_ms=self._lease_ms))
        except LeaseLostError:
            self.lose(job.task.token)
            return True
        if renewal is None:
            return False
        heed(job, renewal)
        return True


def heed(job: Job, renewal: Renewal) -> None:
    """Tell a job what the queue's answer says that its clients wish."""
    if renewal.cancelled and job.stop(StopReason.CANCELLED):
        log.info("task %s: cancelled", job.request_id)
    if renewal.interrupted and job.interrupt():
        log.info("task %s: interrupted", job.request_id)
    if job.skip(renewal.skips):
        log.info("task %s: its current batch is skipped", job.request_id)
