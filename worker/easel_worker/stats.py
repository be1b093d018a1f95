"""What this worker has done so far: for the heartbeat and for Prometheus."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from easel_worker.job import Job

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Histogram buckets: from a preview of a tiny model to a large batch on a slow GPU."""


class Stats:
    """Counters of one worker. Every method may be called from any thread."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._busy_s = 0.0
        self._running: Job | None = None
        self._began = 0.0
        self._outcomes: dict[str, int] = {}
        self._tasks = Counter("easel_worker_tasks", "Tasks ended, by outcome", ["outcome"], registry=registry)
        self._seconds = Histogram(
            "easel_worker_task_seconds",
            "Seconds on the torch thread per task",
            buckets=SECONDS,
            registry=registry,
        )
        busy = Counter(
            "easel_worker_torch_busy_seconds", "Seconds the torch thread spent in handlers", registry=registry
        )
        self._busy_total = busy
        self.model_loads = Counter("easel_worker_model_loads", "Checkpoints loaded", registry=registry)

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """Around a handler's work on the torch thread."""
        with self._lock:
            self._running, self._began = job, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                spent = time.monotonic() - self._began
                self._busy_s += spent
                self._running = None
            self._busy_total.inc(spent)
            self._seconds.observe(spent)

    def count(self, outcome: str) -> None:
        """One task ended: done, refused, cancelled, retried, dead or lost."""
        with self._lock:
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        self._tasks.labels(outcome).inc()

    @property
    def current(self) -> Job | None:
        """The job on the torch thread."""
        return self._running

    def snapshot(self) -> dict[str, object]:
        """Numbers for the heartbeat; `busy_s` includes the running task up to now."""
        now = time.monotonic()
        with self._lock:
            busy_s = self._busy_s + (now - self._began if self._running is not None else 0.0)
            failed = sum(self._outcomes.get(name, 0) for name in ("refused", "retried", "dead"))
            return {
                "done": self._outcomes.get("done", 0),
                "failed": failed,
                "cancelled": self._outcomes.get("cancelled", 0),
                "busy_s": round(busy_s, 3),
                "up_s": round(now - self._since, 3),
                "task": self._running.request_id if self._running is not None else None,
            }
