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

    Any thread may call `stop`, `interrupt` and `skip`; the torch thread notices at its next step.
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
        self._company: tuple[Job, ...] = ()
        self._lock = threading.Lock()
        self._told = threading.Event()
        self._reason: StopReason | None = None
        self._interrupted = False
        self._skips_asked = 0
        self._skips_taken = 0

    @property
    def request_id(self) -> str:
        return self.task.request_id

    @property
    def company(self) -> tuple[Job, ...]:
        """The jobs that were reserved to be rendered in one batch, this one among them. Each is leased,
        stopped and answered for itself."""
        return self._company or (self,)

    def join(self, company: tuple[Job, ...]) -> None:
        """Be rendered together with others."""
        # Alone it must not refer to itself, or its body would stay in memory until cycles are collected.
        self._company = company if len(company) > 1 else ()

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
        self._told.set()
        return True

    def interrupt(self) -> bool:
        """Tell the job to end early and to keep what is done. True when this is news."""
        with self._lock:
            news, self._interrupted = not self._interrupted, True
        self._told.set()
        return news

    def skip(self, asked: int) -> bool:
        """Tell the job to cut its current batch short; `asked` counts such wishes of this delivery, so that
        one which is heard twice counts once. True when this is news."""
        with self._lock:
            news, self._skips_asked = asked > self._skips_asked, max(asked, self._skips_asked)
        if news:
            self._told.set()
        return news

    @property
    def interrupted(self) -> bool:
        """It should end at the next step, with the batches that are done and the current one as it is."""
        return self._interrupted

    @property
    def skip_wanted(self) -> bool:
        """The current batch should end at the next step, as it is."""
        return self._skips_asked > self._skips_taken

    def take_skip(self) -> bool:
        """Answer `skip_wanted` and forget the wish."""
        with self._lock:
            wanted, self._skips_taken = self._skips_asked > self._skips_taken, self._skips_asked
            if self._reason is None and not self._interrupted:
                self._told.clear()
        return wanted

    def check(self) -> None:
        """Raise `JobStoppedError` when the job must not go on."""
        if self._reason is not None:
            raise JobStoppedError(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep up to `seconds`, less when told something; raise `JobStoppedError` if that was to stop."""
        self._told.wait(seconds)
        self.check()
