"""Claims for threads: the worker's side."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from easel_claims.depot import Depot
from easel_queue import Body, Call, Claim, ClaimCalls, ClaimLostError, ClaimWantedError, Task
from easel_store import StoreError

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Sender(Protocol):
    """A queue that outlives a Redis that is away."""

    def run(self, call: Call[T]) -> T:
        """Send until it is answered."""
        ...

    def attempt(self, call: Call[T]) -> T | None:
        """Send once; None when there is no answer."""
        ...


class Claims:
    """Sends bodies with calls, and fetches those of tasks. Any thread may use it."""

    def __init__(self, depot: Depot, calls: ClaimCalls, queue: Sender) -> None:
        self._depot = depot
        self._calls = calls
        self._queue = queue

    def run(self, data: bytes, build: Callable[[Body], Call[T]]) -> T:
        """Send the call that `build` makes of a body: the bytes themselves, or a claim if they are many.

        Storage that is away is no reason to lose a result: then the bytes are sent after all.

        Raises:
            What the call raises, but for ClaimWantedError and ClaimLostError.
        """
        if not self._depot.takes(data):
            return self._queue.run(build(data))
        while True:
            claim = self._depot.new_claim(data)
            try:
                return self._bring(claim, data, build)
            except ClaimLostError:
                _log.warning("a body of %d bytes took too long to store; it is stored again", claim.size)
                with contextlib.suppress(StoreError):
                    self._depot.delete(claim.name)
            except StoreError as error:
                _log.warning("a body of %d bytes goes through Redis: %s", claim.size, error)
                return self._queue.run(build(data))

    def _bring(self, claim: Claim, data: bytes, build: Callable[[Body], Call[T]]) -> T:
        with contextlib.suppress(ClaimWantedError):
            return self._queue.run(build(claim))
        try:
            return self._queue.run(build(self._depot.bring(claim, data)))
        finally:
            # Refused, or accepted without this body: then it is deleted. Otherwise this changes nothing.
            self._queue.attempt(self._calls.drop(claim.name))

    def whole(self, task: Task) -> Task:
        """The task with its body, wherever that lies.

        Raises:
            ClaimMissingError, StoreError: see `Depot.fetch`.
        """
        if task.claim is None:
            return task
        return replace(task, data=self._depot.fetch(task.claim), claim=None)
