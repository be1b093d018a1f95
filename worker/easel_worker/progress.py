"""Sends progress to the queue without ever slowing the torch thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from easel_contract.events import Progress
from easel_queue import LeaseLostError
from easel_worker.duty import Duty
from easel_worker.job import Job, StopReason
from easel_worker.lease import heed
from easel_worker.steady import SteadyQueue

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
"""At most ten snapshots a second per task: what an eye can follow; a fast model makes fifty steps."""


@dataclass
class _Line:
    job: Job
    pending: Progress | None = None
    sent_at: float = float("-inf")


class ProgressReporter(Duty):
    """Keeps the newest snapshot per task and sends it at most every `INTERVAL_S`.

    The first is sent at once and the last by `flush`. A snapshot that cannot be sent is dropped:
    the next one says more.
    """

    name = "progress"

    def __init__(self, queue: SteadyQueue, on_crash: Callable[[str], None]) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._lines: dict[int, _Line] = {}
        self._changed = threading.Condition()
        self._sending = threading.Lock()

    def report(self, job: Job, progress: Progress) -> None:
        """Note the newest snapshot; never blocks on Redis."""
        with self._changed:
            line = self._lines.get(job.task.token)
            if line is None:
                line = self._lines[job.task.token] = _Line(job)
            line.pending = progress
            self._changed.notify()

    def flush(self, job: Job, *, send: bool = True) -> None:
        """Forget the job, after sending what is still unsent. Called before its result is written."""
        with self._sending:  # so that no older snapshot is on its way
            with self._changed:
                line = self._lines.pop(job.task.token, None)
            if send and line is not None and line.pending is not None:
                self._send(job, line.pending)

    def stop(self) -> None:
        super().stop()
        with self._changed:
            self._changed.notify()

    def body(self) -> None:
        while not self.stopping.is_set():
            with self._changed:
                self._changed.wait(self._until_next())
            with self._sending:
                for job, progress in self._due():
                    self._send(job, progress)

    def _until_next(self) -> float | None:
        now = time.monotonic()
        waits = [line.sent_at + INTERVAL_S - now for line in self._lines.values() if line.pending is not None]
        return max(0.0, min(waits)) if waits else None

    def _due(self) -> list[tuple[Job, Progress]]:
        now = time.monotonic()
        due = []
        with self._changed:
            for line in self._lines.values():
                if line.pending is not None and line.sent_at + INTERVAL_S <= now:
                    due.append((line.job, line.pending))
                    line.pending, line.sent_at = None, now
        return due

    def _send(self, job: Job, progress: Progress) -> None:
        try:
            renewal = self._queue.attempt(
                self._queue.tasks.progress(job.task, progress.model_dump(mode="json"))
            )
        except LeaseLostError:
            if job.stop(StopReason.LEASE_LOST):
                log.warning("task %s: the lease is lost; its work is dropped", job.request_id)
            return
        if renewal is not None:
            heed(job, renewal)
