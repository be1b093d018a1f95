"""Tells the service that this worker lives and what it does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from easel_worker import __version__
from easel_worker.duty import Duty
from easel_worker.handlers.registry import Registry
from easel_worker.memory_report import memory_report
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats
from easel_worker.steady import SteadyQueue

BEATS_TO_LIVE = 3
"""Missed heartbeats after which a worker counts as gone."""


class Heartbeat(Duty):
    """One JSON record every `heartbeat_s`, and one at once when `poke` says that something changed."""

    name = "heartbeat"

    def __init__(
        self,
        queue: SteadyQueue,
        registry: Registry,
        stats: Stats,
        settings: WorkerSettings,
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._registry = registry
        self._stats = stats
        self._settings = settings
        self._poked = threading.Event()
        self.draining = False

    def poke(self) -> None:
        """Beat now."""
        self._poked.set()

    def stop(self) -> None:
        super().stop()
        self.poke()

    def body(self) -> None:
        ttl_ms = int(self._settings.heartbeat_s * BEATS_TO_LIVE * 1000)
        while not self.stopping.is_set():
            self._beat(ttl_ms)
            self._poked.wait(self._settings.heartbeat_s)
            self._poked.clear()
        self._beat(1)  # gone from the list of workers without waiting for the silence to be noticed

    def info(self) -> dict[str, object]:
        """The record: who and where, state, memory, task, counts, seconds busy and alive, and the handlers'
        facts."""
        info: dict[str, object] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "state": "draining"
            if self.draining
            else "rendering"
            if self._stats.current is not None
            else "idle",
            "paths": list(self._registry.paths),
            "memory": memory_report(self._settings.device),
        }
        for handler in self._registry:
            info.update(handler.describe())
        info.update(self._stats.snapshot())
        return info

    def _beat(self, ttl_ms: int) -> None:
        self._queue.attempt(self._queue.tasks.heartbeat(self._settings.worker_id, self.info(), ttl_ms=ttl_ms))
