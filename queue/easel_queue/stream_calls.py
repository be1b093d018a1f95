"""What a client may do with a queue: the input, the sink or the rear (dead letters) of a service.

A *group* gets every item once; inside a group the *watchers* (uids) share them. Delivered items are pending
until committed; what a watcher had when it left is delivered again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from easel_queue.call import Arg, Call, Raw, chunks, mapping, text, to_json
from easel_queue.errors import raise_for
from easel_queue.keys import INPUT, Keys, safe
from easel_queue.model import Attributes, Entry, Group, Once, Page, Placed, Reply, Search, Watcher
from easel_queue.task_calls import clamp_priority, once_key, read_entries, read_placed, with_request_id

TRUNCATE_BATCH = 1000
"""Items removed by one truncate call; more would hold Redis up for tens of milliseconds."""


class StreamCalls:
    """Builds the calls of one queue (`in`, `sink` or `rear`)."""

    def __init__(self, keys: Keys, queue: str) -> None:
        self.keys = keys
        self.queue = queue

    def _of(self, *names: str) -> tuple[str, ...]:
        return tuple(self.keys.of(self.queue, name) for name in names)

    def append(
        self,
        data: bytes,
        *,
        request_id: str,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        max_length: int = 0,
        max_bytes: int = 0,
        evict: bool = False,
        once: Once | None = None,
    ) -> Call[Placed]:
        """A client's own put into the sink or the rear. `TaskCalls.put` explains the arguments.

        With `evict` a full queue drops its oldest items, delivered or not.

        Raises:
            QueueFullError, TooLargeError, KeyReusedError, RequestIdTakenError: nothing was stored.
        """
        if self.queue == INPUT:
            raise ValueError("the input queue takes tasks: use TaskCalls.put")
        names = (
            self.keys.seq(self.queue),
            *self._of("entries", "rid", "prio", "groups"),
            once_key(self.keys, self.queue, once),
        )
        args = (
            self.queue,
            request_id,
            data,
            with_request_id(tags or {}, request_id),
            clamp_priority(priority),
            max_length,
            once.fingerprint if once else "",
            max_bytes,
            int(evict),
        )

        def read(raw: Raw) -> Placed:
            limits = f"the limits of {self.queue} are {max_length} items and {max_bytes} bytes (0: none)"
            return read_placed(raw, request_id, Reply.SINK, f"put refused: {limits}")

        return Call("append_entry", names, args, read)

    def get(
        self,
        *,
        start: int = 0,
        limit: int = 1,
        request_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        remove: bool = False,
    ) -> Call[Page]:
        """Items in order of their index, from `start` (inclusive; -1 is the newest only).

        At most 1000 items are looked at in one call; `Page.next_index` says where to go on. With `remove`
        what is returned is gone, except that a task which a worker has leased is neither.
        """
        args = (self.queue, start, limit, request_id or "", to_json(tags or {}), int(remove))

        def read(raw: Raw) -> Page:
            return Page(read_entries(raw[1:]), int(raw[0]))

        return Call("get_entries", self._of("entries", "rid"), args, read, repeatable=not remove)

    def count(self) -> Call[int]:
        """How many items are stored."""
        return Call("count_entries", self._of("entries"), (), int)

    def attributes(self) -> Call[Attributes]:
        """Counts, groups and watchers."""
        names = (*self._of("entries", "groups", "watchers"), self.keys.waiting, self.keys.leases)
        return Call("describe_queue", names, (self.queue,), _attributes)

    def search(self, index: int, *, group: str) -> Call[Search | None]:
        """Whether `index` is being processed in `group`, and how many are ahead; None if it is not stored.

        On the input queue the group named like the service is the workers' own.
        """
        gid = safe(group)
        names = (*self._of("entries"), self.keys.waiting, *self._of(f"g:{gid}:todo", f"g:{gid}:pend"))

        def read(raw: Raw) -> Search | None:
            if raw is None:
                return None
            consumer = text(raw[2])
            return Search(f"{group}.{consumer}" if consumer else "", bool(raw[0]), int(raw[1]))

        return Call("search_entry", names, (self.queue, index, int(group == self.keys.service)), read)

    def delete(self, indexes: Sequence[int]) -> Call[int]:
        """Remove items for all groups; answers how many were there. A worker that has one is told to stop."""
        return Call("delete_entries", self._of("entries", "rid"), (self.queue, *indexes), int)

    def truncate(self, before: int, *, limit: int = TRUNCATE_BATCH) -> Call[int]:
        """Remove items with an index below `before`, at most `limit`; call again while it answers `limit`."""
        return Call("truncate_entries", self._of("entries", "rid"), (self.queue, before, limit), int)

    def join(
        self,
        *,
        group: str,
        uid: str,
        connection: str,
        window: int,
        start: int = 0,
        index_only: bool = False,
        auto_commit: bool = False,
        tags: Mapping[str, str] | None = None,
        ttl_ms: int = 6000,
    ) -> Call[None]:
        """Register a watcher under its own `connection` id.

        Args:
            window: Most items delivered and not committed; without meaning when `auto_commit`.
            start: First index wanted; 0 everything, -1 only what comes from now on. Fixed at the first join.
            tags: Only items that have all of these pairs.
            ttl_ms: The watcher counts as gone when `deliver` was not called for this long.

        Raises:
            DuplicateWatcherError: a live watcher has this uid.
        """
        gid, who = safe(group), safe(uid)
        names = self._of("groups", "watchers", "entries", "prio", f"g:{gid}:todo", f"g:{gid}:c")
        args = (
            self.queue,
            gid,
            who,
            connection,
            window,
            start,
            int(index_only),
            int(auto_commit),
            to_json(tags or {}),
            ttl_ms,
        )

        def read(raw: Raw) -> None:
            raise_for(
                int(raw), f"uid {uid!r} of group {group!r} is connected already; give each client its own uid"
            )

        return Call("join_watcher", names, args, read)

    def deliver(self, *, group: str, uid: str, connection: str, limit: int) -> Call[tuple[Entry, ...]]:
        """The next items for a watcher, at most `limit` and never beyond its window; says that it lives.

        Raises:
            WatcherFencedError: the uid belongs to another connection, or was forgotten.
        """
        gid, who = safe(group), safe(uid)
        names = self._of(
            "watchers", f"g:{gid}:todo", f"g:{gid}:pend", f"g:{gid}:w:{who}", f"g:{gid}:c", "groups"
        )

        def read(raw: Raw) -> tuple[Entry, ...]:
            if isinstance(raw, int):
                raise_for(raw, f"uid {uid!r} of group {group!r}")
            return read_entries(raw)

        # Items in an answer that got lost are pending with this watcher: it must leave, not ask again.
        return Call(
            "deliver_entries", names, (self.queue, gid, who, connection, limit), read, repeatable=False
        )

    def commit(self, indexes: Sequence[int], *, group: str) -> Call[int]:
        """The group is done with these; answers how many were stored. Committing twice changes nothing."""
        args: tuple[Arg, ...] = (self.queue, safe(group), *indexes)
        return Call("commit_entries", self._of("entries", "rid", "groups"), args, int)

    def leave(self, *, group: str, uid: str, connection: str) -> Call[int]:
        """The watcher's connection ended; answers how many items went back to the group."""
        gid = safe(group)
        names = self._of("watchers", f"g:{gid}:c", "groups")
        return Call("leave_watcher", names, (self.queue, gid, safe(uid), connection), int)

    def sweep(self) -> Call[int]:
        """Take items from watchers that fell silent, and forget old watchers and groups."""
        return Call("sweep_watchers", self._of("watchers", "groups", "entries"), (self.queue,), int)


def _attributes(raw: Raw) -> Attributes:
    length, first, last, waiting, leased, groups, watchers, now, stored = raw
    return Attributes(
        length=int(length),
        first=int(first),
        last=int(last),
        waiting=int(waiting),
        leased=int(leased),
        groups=tuple(Group(_name(gid), int(todo), int(pending)) for gid, todo, pending in chunks(groups, 3)),
        watchers=tuple(_watcher(item, int(now)) for item in chunks(watchers, 5)),
        bytes=int(stored),
    )


def _name(part: bytes) -> str:
    return unquote(text(part))


def _watcher(item: Sequence[Raw], now: int) -> Watcher:
    gid, uid, pending, alive_until, record_json = item
    record = mapping(record_json)
    left = record.get("left")
    connected = bool(record.get("connection"))
    if connected:
        state = "Running"
        idle = max(0, now - (int(float(alive_until)) - int(record.get("ttl", 0))))
    else:
        idle = max(0, now - int(left or now))
        state = "Complete"
    return Watcher(
        group=_name(gid),
        uid=_name(uid),
        start=int(record.get("start", 0)),
        pending=int(pending),
        state=state,
        idle_ms=idle,
        window=int(record.get("window", 0)),
        auto_commit=bool(record.get("auto_commit", False)),
    )
