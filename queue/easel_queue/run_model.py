"""What the calls about running tasks, the line and records answer: plain frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class InterruptOutcome(str, Enum):
    """Answer to interrupt and skip."""

    ASKED = "asked"
    """It runs; its worker was told."""
    WAITING = "waiting"
    """It has not begun, so there is nothing to interrupt; it stays as it is."""
    UNKNOWN = "unknown"
    """No such task is stored: it ended or never was."""


@dataclass(frozen=True)
class Running:
    """A task that a worker runs now."""

    index: int
    request_id: str
    user: str
    meta: dict[str, str]
    tags: dict[str, str]
    worker: str
    started_ms: int
    elapsed_ms: int
    """Since then, by Redis's clock."""
    progress: dict[str, object] = field(default_factory=dict)
    """The worker's last snapshot; empty before the first."""
    interrupted: bool = False


@dataclass(frozen=True)
class Waiting:
    """A task that waits for its worker."""

    index: int
    request_id: str
    meta: dict[str, str]
    priority: int
    enqueued_ms: int


@dataclass(frozen=True)
class WaitingPage:
    """Answer to a listing of the line: how many match in all, how many of them a worker has fetched ahead,
    and this page of them."""

    total: int
    fetched: int
    tasks: tuple[Waiting, ...]


@dataclass(frozen=True)
class Whose:
    """Whose tasks are meant: everybody's (None), those of `users`, or, with `others`, all but those."""

    users: frozenset[str] | None = None
    others: bool = False

    @property
    def mode(self) -> str:
        """As the scripts are told it."""
        return "all" if self.users is None else "except" if self.others else "only"

    def covers(self, user: str) -> bool:
        """Whether a task of `user` is meant."""
        return self.users is None or (user in self.users) is not self.others


class RecordStatus(str, Enum):
    """How it stands with the task of a record."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Its result says why; without a result it was deleted from the queue."""
    INTERRUPTED = "interrupted"
    """It was cancelled, or ended early with what was done."""


@dataclass(frozen=True)
class Record:
    """What was asked of a task, and how it stands."""

    request_id: str
    user: str
    name: str
    kind: str
    params: str
    created_ms: int
    bookmarked: bool
    cut: bool
    """Something in `params` was left out, because it is too large to be kept."""
    status: RecordStatus
    position: int
    """In the line, 1 in front; 0 unless it is pending."""
    ended_ms: int
    """0 until it ended."""
    priority: int


@dataclass(frozen=True)
class RecordPage:
    """Answer to a listing: how many match in all, and this page of them."""

    total: int
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Preview:
    """A picture of an unfinished task. Numbers of one task's previews grow."""

    number: int
    media_type: str = ""
    data: bytes = b""
    """Empty when the caller has this one already."""


@dataclass(frozen=True)
class Found:
    """A task that was looked for: its request id, and its user while it has not ended."""

    request_id: str
    user: str | None
