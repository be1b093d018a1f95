"""What an adapter has to offer. Each runs twice: as the submitter (`Producer`) and as the worker (`work`)."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol


class Producer(Protocol):
    """The submitting side of one queue, connected. Any method may also be a coroutine function."""

    def put(self) -> Any | Awaitable[Any]:
        """Put one no-op job and wait until it is stored; answers what `results` wants to know of it."""

    def put_many(self, count: int) -> Sequence[Any] | Awaitable[Sequence[Any]]:
        """Put `count` jobs in the way that the queue's documentation has for many."""

    def results(self, jobs: Sequence[Any]) -> Awaitable[None] | None:
        """Wait until the results of all these jobs were seen here; commit them where the queue has that."""


class Adapter(Protocol):
    """A module of this package."""

    DISTRIBUTIONS: Sequence[str]
    """What is installed for it, for its versions."""

    def connect(self, url: str) -> Producer | Awaitable[Producer]: ...

    def work(self, url: str, slots: int) -> None:
        """Run jobs in this process, at most `slots` at a time, until it is killed."""
