"""The bounded hand-over between the prefetch stage and the torch thread."""

from __future__ import annotations

import threading
from collections import deque

from easel_worker.job import Job


class Handoff:
    """Prepared jobs that wait for the torch thread, at most `depth` of them.

    `depth` 0 means: hold nothing while the torch thread is busy, so that a task is only taken
    from the queue when it can start now.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._jobs: deque[Job] = deque()
        self._orders: deque[str] = deque()
        self._taking = False
        self._intake_open = True
        self._closed = False
        self._changed = threading.Condition()

    def wait_room(self, timeout_s: float) -> bool:
        """Wait until another job may be reserved. False on timeout or when the intake is closed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._intake_open or self._has_room(), timeout_s)
            return self._intake_open and self._has_room()

    def idle(self) -> bool:
        """Whether the torch thread waits, and would take the next job at once."""
        with self._changed:
            return self._taking and not self._jobs

    def put(self, job: Job) -> bool:
        """Hand a prepared job over. False when the intake is closed: the caller gives the task back."""
        with self._changed:
            if not self._intake_open:
                return False
            self._jobs.append(job)
            self._changed.notify_all()
            return True

    def order(self, what: str) -> None:
        """Have the torch thread do something before its next job. One that waits already is not repeated."""
        with self._changed:
            if what not in self._orders:
                self._orders.append(what)
                self._changed.notify_all()

    def take(self) -> Job | str | None:
        """Next job for the torch thread, or an order; waits. None once closed and empty."""
        with self._changed:
            self._taking = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._jobs or self._orders or self._closed)
            self._taking = False
            if self._orders and not self._closed:
                return self._orders.popleft()
            job = self._jobs.popleft() if self._jobs else None
            self._changed.notify_all()
            return job

    def close_intake(self) -> list[Job]:
        """Refuse further jobs and return those that nobody began."""
        with self._changed:
            self._intake_open = False
            left = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
            return left

    def close(self) -> None:
        """Let `take` answer None when nothing is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        limit = self._depth if self._depth > 0 or not self._taking else 1
        return len(self._jobs) < limit
