"""A task inside the worker: what travels from stage to stage."""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easel_queue import Task
    from easel_worker.handlers.base import Handler


class StopReason(str, Enum):
    """Why a job must not go on."""

    CANCELLED = "cancelled"
    """The client asked for it: the queue wants a cancelled result."""
    SHUTDOWN = "shutdown"
    """The worker leaves and the job did not end within `drain_s`: it is given back."""
    LEASE_LOST = "lease lost"
    """Somebody else has the task, or it is gone: nothing may be written about it."""


_STRENGTH = (StopReason.SHUTDOWN, StopReason.CANCELLED, StopReason.LEASE_LOST)


class JobStoppedError(Exception):
    """Raised on the torch thread by `Job.check` at the first step after a stop."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Job:
    """One leased task, its handler, and whether it may go on.

    Any thread may call `stop`; the torch thread notices at its next `check` or `wait`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.handler: Handler[Any, Any] | None = None
        self.prepared: Any = None
        self.id_task: str | None = None
        """The caller's own id of the task, once the body has been read."""
        self.started = False
        """True once the queue has counted this delivery."""
        self.writing = False
        """True while its result is being written: then the queue's answer to that says who has the task."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._reason: StopReason | None = None

    @property
    def request_id(self) -> str:
        return self.task.request_id

    @property
    def stop_reason(self) -> StopReason | None:
        """The strongest reason given so far: a lost lease beats a cancel beats a shutdown."""
        return self._reason

    def stop(self, reason: StopReason) -> bool:
        """Tell the job to stop. True when this is news (a stronger reason than before)."""
        with self._lock:
            if self._reason is not None and _STRENGTH.index(reason) <= _STRENGTH.index(self._reason):
                return False
            self._reason = reason
        self._stopped.set()
        return True

    def check(self) -> None:
        """Raise `JobStoppedError` when the job must not go on."""
        if self._reason is not None:
            raise JobStoppedError(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep up to `seconds`; raise `JobStoppedError` at once when told to stop meanwhile."""
        self._stopped.wait(seconds)
        self.check()
