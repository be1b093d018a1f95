"""What the queue's calls take and answer: plain frozen records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Reply(str, Enum):
    """Where a task's result goes."""

    SINK = "sink"
    """To the sink queue, for whoever watches it."""
    DIRECT = "direct"
    """To a short-lived reply that the waiting caller picks up; the sink never sees it."""
    KEPT = "kept"
    """To a reply that is kept for a week, beside the task's record; the sink never sees it."""


class State(str, Enum):
    """Where a task is in its life; `docs/queue.md` draws the transitions."""

    WAITING = "waiting"
    RESERVED = "reserved"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    EVICTED = "evicted"

    @property
    def ended(self) -> bool:
        """The task is over: nothing more will happen to it."""
        return self not in (State.WAITING, State.RESERVED, State.RUNNING)


@dataclass(frozen=True)
class Claim:
    """A body that lies outside Redis. The queue keeps its name, which may mean anything to the caller, and
    counts its size (bytes) like that of any other body."""

    name: str
    size: int
    brought: bool = False
    """The body is there. Before that a call with the claim is checked, and its name announced, but nothing is
    stored."""

    @classmethod
    def read(cls, stored: str) -> Claim | None:
        """As the scripts write it: ``<size> <name>``, empty for none."""
        size, _, name = stored.partition(" ")
        return cls(name, int(size), brought=True) if name else None

    def __str__(self) -> str:
        return f"{'' if self.brought else '?'}{self.size} {self.name}"


Body = bytes | Claim
"""What the queue takes as the body of a task or a result."""


@dataclass(frozen=True)
class Placed:
    """Answer to a put."""

    index: int
    request_id: str
    repeated: bool = False
    """The idempotency key was known: this is what the first put was answered, and nothing was stored."""
    reply: Reply = Reply.SINK
    """Where the result of the task goes, which the first put of a key has decided."""


class Delivery(tuple["Entry", ...]):
    """The entries that one watcher got, and what it needs to know about the rest."""

    left: int
    """How many items its group has still to deliver, to anybody."""
    room: int
    """How many more fit into its window; 1 when it has none, because it commits by itself."""

    @classmethod
    def of(cls, entries: tuple[Entry, ...], *, left: int, room: int) -> Delivery:
        """Put it together."""
        delivery = cls(entries)
        delivery.left, delivery.room = left, room
        return delivery


@dataclass(frozen=True)
class Once:
    """An idempotency key: of all puts under it, one is stored.

    `user` scopes it; `fingerprint` tells the request, so that another one under the same key is refused.
    """

    user: str
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Origin:
    """Whose task it is, and how much of that user's the queue takes.

    `share` weighs the user's turns against the others' (0.001 to 1000). `max_waiting` tasks of the user may
    wait, and `per_minute` may be put within any minute; 0 is no limit.
    """

    user: str = ""
    share: float = 1.0
    max_waiting: int = 0
    per_minute: int = 0


@dataclass(frozen=True)
class Kin:
    """What a task has in common with others, as names that the queue only compares.

    Tasks of one `batch` can be rendered together; "" is none. `models` names what a worker needs for it, as a
    whole or in parts: one that has some of it at hand is preferred.
    """

    batch: str = ""
    models: Sequence[str] = ()


NOBODY = Origin()
NO_KIN = Kin()


@dataclass(frozen=True)
class Eviction:
    """The result that tells a waiting task that it was dropped to make room: body and extra tags."""

    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One stored item, as get and watch return it. `tags` always has ``requestId``."""

    index: int
    request_id: str
    tags: dict[str, str]
    data: bytes
    priority: int = 0
    enqueued_ms: int = 0
    meta: dict[str, str] = field(default_factory=dict)
    last_error: str = ""
    """Why its last delivery failed: a dead letter, or an item that was negatively committed."""
    claim: Claim | None = None
    """Where its body lies, if not in `data`."""


@dataclass(frozen=True)
class Task:
    """A leased task. Every later call about it shows `token`; a stale token changes nothing."""

    index: int
    request_id: str
    token: int
    tags: dict[str, str]
    meta: dict[str, str]
    data: bytes
    priority: int
    enqueued_ms: int
    deliveries: int
    """Deliveries counted so far; this one is included if the reserve was to begin it."""
    lease_until_ms: int
    reply: Reply = Reply.SINK
    last_error: str = ""
    """Only from reap: why the last delivery ended."""
    claim: Claim | None = None
    """Where its body lies, if not in `data`."""

    @property
    def options(self) -> dict[str, Any]:
        """The service's options that were set when the task was put; see `OptionsCalls`."""
        stored = json.loads(self.meta.get("options") or "{}")
        return stored if isinstance(stored, dict) else {}


@dataclass(frozen=True)
class Renewal:
    """Answer to extend and progress."""

    lease_until_ms: int
    cancelled: bool
    interrupted: bool = False
    """It should end early, with what is done."""
    skips: int = 0
    """How many times this delivery was asked to cut its current batch short."""


@dataclass(frozen=True)
class Finished:
    """Answer to finish. `sink_index` is 0 when the result went to a waiting caller or was empty."""

    sink_index: int


@dataclass(frozen=True)
class Failed:
    """Answer to fail: the task waits for another delivery, is dead, or ended as cancelled."""

    state: State
    deliveries: int

    @property
    def dead(self) -> bool:
        """It was given up: its result is delivered, and it lies in the rear."""
        return self.state is State.DEAD


@dataclass(frozen=True)
class Reaped:
    """Answer to reap. `exhausted` tasks are leased to the reaper, who must end them with fail."""

    requeued: int
    cancelled: int
    exhausted: tuple[Task, ...]


class CancelOutcome(str, Enum):
    """Answer to cancel."""

    CANCELLED = "cancelled"
    """It was waiting (or prefetched) and is gone; its cancelled result was delivered."""
    STOPPING = "stopping"
    """It runs; its worker was told and stops at the next step."""
    UNKNOWN = "unknown"
    """No such task is stored: it ended or never was."""


@dataclass(frozen=True)
class Status:
    """Where one task is. `ahead` counts the tasks that will be served before it (0 unless waiting)."""

    request_id: str
    index: int
    state: State
    ahead: int = 0
    deliveries: int = 0
    worker: str = ""
    progress: dict[str, object] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    sink_index: int = 0


@dataclass(frozen=True)
class Search:
    """EAS search: is this index being processed, and how many items are ahead of it."""

    consumer_id: str
    pending: bool
    ahead: int


@dataclass(frozen=True)
class Watcher:
    """One consumer line of attributes.

    `state` is Running while it is connected, Leaving when it said that it exits soon or left a moment ago,
    Exit when it is gone for longer; one that is gone and whose items were all consumed is Complete.
    """

    group: str
    uid: str
    start: int
    pending: int
    state: str
    idle_ms: int
    window: int
    auto_commit: bool
    tags: dict[str, str] = field(default_factory=dict)
    """Its filter."""


@dataclass(frozen=True)
class Group:
    """One group line of attributes. `todo` counts items not yet delivered to it, `aside` those it gave up."""

    name: str
    todo: int
    pending: int
    aside: int = 0


@dataclass(frozen=True)
class Attributes:
    """Counts of one queue. `first` and `last` are 0 when it is empty; `waiting`, `leased` are input only.

    `marker` is the index of the end-of-stream marker, 0 while the queue is open; `bytes` is what the items'
    bodies, tags and meta take.
    """

    length: int
    first: int
    last: int
    waiting: int = 0
    leased: int = 0
    groups: tuple[Group, ...] = ()
    watchers: tuple[Watcher, ...] = ()
    marker: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Rejected:
    """Answer to reject: items that went back to their group, and items that were given up."""

    returned: int
    given_up: int


@dataclass(frozen=True)
class StreamEnd:
    """Answer to end: the marker's index, and where a forced end goes on (0: it is complete)."""

    marker: int
    next_index: int = 0


@dataclass(frozen=True)
class Page:
    """Answer to get: what matched, and where to go on (0: the whole queue was looked at)."""

    entries: tuple[Entry, ...]
    next_index: int = 0
    bytes: int = 0
    """Of the entries' bodies, claimed ones included; about, when they were left out."""


@dataclass(frozen=True)
class DeadLetter:
    """A task that was given up. Times are ms; `enqueued_ms` is 0 for what a client put into the rear."""

    index: int
    request_id: str
    tags: dict[str, str]
    priority: int
    deliveries: int
    died_ms: int
    enqueued_ms: int
    errors: tuple[str, ...]
    """One line per failed delivery, oldest first; the last 20."""
    size: int
    meta: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    """The request body; like `meta` and `claim` only when one letter is asked for."""
    claim: Claim | None = None
    """Where the body lies, if not in `data`."""


@dataclass(frozen=True)
class DeadPage:
    """Answer to a listing, and where to go on (0: the end was reached)."""

    letters: tuple[DeadLetter, ...]
    next_index: int = 0


@dataclass(frozen=True)
class Requeued:
    """Answer to requeueing many: how many, where to go on (0: the end), whether the input queue is full."""

    count: int
    next_index: int
    full: bool


@dataclass(frozen=True)
class Worker:
    """One worker's last heartbeat."""

    id: str
    seen_ms: int
    info: dict[str, object]
