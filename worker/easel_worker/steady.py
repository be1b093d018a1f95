"""The queue as the worker sees it: calls outlive a Redis that goes away for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from easel_queue import Call, Queue, QueueError, QueueUnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
"""Pauses between tries, doubling: quick enough for a restart, slow enough for a long outage."""


class GaveUpError(Exception):
    """Redis stayed away until the worker had to stop; the lease will lapse and the task run again."""


class SteadyQueue:
    """Wraps `Queue`. Calls may be repeated after a broken connection: every one of them carries a token
    and does nothing the second time (a repeated reserve leaves one task leased until its lease lapses).

    Says once in the log that Redis is gone and once that it is back. Any thread may use it.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.tasks = queue.tasks
        self.give_up = threading.Event()
        """Set when the worker must end: `run` stops retrying."""
        self._lock = threading.Lock()
        self._gone_since: float | None = None

    def run(self, call: Call[T]) -> T:
        """Send until Redis answers.

        Raises:
            QueueError: Redis answered, and the answer is no.
            GaveUpError: `give_up` was set while Redis was away.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self._answered(lambda: self._queue.run(call))
            except _AwayError:
                if self.give_up.wait(pause_s):
                    raise GaveUpError(f"Redis is away; {call.script} was not sent") from None
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def attempt(self, call: Call[T]) -> T | None:
        """Send once. None when Redis is away (or when that is the answer)."""
        try:
            return self._answered(lambda: self._queue.run(call))
        except _AwayError:
            return None

    def attempt_at_bell(self, call: Call[T], timeout_s: float, stopping: threading.Event) -> T | None:
        """Wait for a sign of work, then send once, whether there was one or not; while Redis is away, pause
        instead (until `stopping`). None when Redis is away (or when that is the answer)."""
        try:
            return self._answered(lambda: self._queue.run_at_bell(call, timeout_s))
        except _AwayError:
            stopping.wait(FIRST_PAUSE_S * 4)
            return None

    def wait_inbox(self, worker: str, timeout_s: float, stopping: threading.Event) -> str | None:
        """The next message for `worker`, or None; while Redis is away, pause instead (until `stopping`)."""
        try:
            return self._answered(lambda: self._queue.wait_inbox(worker, timeout_s))
        except _AwayError:
            stopping.wait(FIRST_PAUSE_S * 4)
            return None

    @property
    def away_s(self) -> float:
        """How long Redis has not answered; 0 when it did the last time."""
        since = self._gone_since
        return 0.0 if since is None else time.monotonic() - since

    def _answered(self, send: Callable[[], T]) -> T:
        try:
            answer = send()
        except QueueError:
            self._note_back()
            raise
        except QueueUnavailableError as error:
            self._note_gone(error)
            raise _AwayError from error
        self._note_back()
        return answer

    def _note_gone(self, error: Exception) -> None:
        with self._lock:
            if self._gone_since is None:
                self._gone_since = time.monotonic()
                log.warning("Redis is away, retrying: %s", type(error).__name__)
                log.debug("the reason in full", exc_info=error)

    def _note_back(self) -> None:
        if self._gone_since is None:
            return
        with self._lock:
            if self._gone_since is not None:
                log.info("Redis is back after %.1f s", time.monotonic() - self._gone_since)
                self._gone_since = None


class _AwayError(Exception):
    """Redis did not answer."""
