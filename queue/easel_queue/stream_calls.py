"""What a client may do with a queue: the input, the sink or the rear (dead letters) of a service.

A *group* gets every item once; inside a group the *watchers* (uids) share them. Delivered items are pending
until committed; what a watcher had when it left is delivered again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from easel_queue.call import Arg, Call, Raw, chunks, mapping, split_body, text, to_json
from easel_queue.errors import raise_for
from easel_queue.keys import INPUT, SINK, Keys, safe
from easel_queue.line_calls import clamp_priority, once_key, read_placed, with_request_id
from easel_queue.model import (
    Attributes,
    Body,
    Delivery,
    Group,
    Once,
    Page,
    Placed,
    Rejected,
    Reply,
    Search,
    StreamEnd,
    Watcher,
)
from easel_queue.task_calls import read_entries

TRUNCATE_BATCH = 1000
"""Items removed by one truncate or forced end; more would hold Redis up for tens of milliseconds."""

DELIVER_BYTES = 4 * 1024 * 1024
"""Bodies of one delivery, about, claimed ones included: a reader that is slow keeps no more than this, and
one item, in our memory."""

GET_BYTES = 16 * 1024 * 1024
"""Data of one get, about."""

LEAVING_MS = 60_000
"""A watcher that left items behind counts as Leaving for this long, then as Exit. Clients that come back do
so within seconds."""


class StreamCalls:
    """Builds the calls of one queue (`in`, `sink` or `rear`)."""

    def __init__(self, keys: Keys, queue: str) -> None:
        self.keys = keys
        self.queue = queue

    def _of(self, *names: str) -> tuple[str, ...]:
        return tuple(self.keys.of(self.queue, name) for name in names)

    def append(
        self,
        data: Body,
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
            QueueFullError, TooLargeError, StreamEndedError, KeyReusedError, RequestIdTakenError,
            ClaimWantedError, ClaimLostError: nothing was stored.
        """
        if self.queue == INPUT:
            raise ValueError("the input queue takes tasks: use TaskCalls.put")
        data, claim = split_body(data)
        names = (
            self.keys.seq(self.queue),
            *self._of("entries", "rid", "prio", "groups", "eos"),
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
            claim,
        )

        def read(raw: Raw) -> Placed:
            limits = f"the limits of {self.queue} are {max_length} items and {max_bytes} bytes (0: none)"
            return read_placed(raw, request_id, Reply.SINK, f"put refused: {limits}")

        return Call("append_entry", names, args, read, durable=True)

    def get(
        self,
        *,
        start: int = 0,
        limit: int = 1,
        request_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        remove: bool = False,
        data: bool = True,
        max_bytes: int = GET_BYTES,
        fetched: bool = False,
    ) -> Call[Page]:
        """Items in order of their index, from `start` (inclusive; -1 is the newest only).

        At most 1000 items are looked at in one call, and once their bodies reach `max_bytes` no more are
        added; `Page.next_index` says where to go on. Without `data` it is left out. With `remove` what is
        returned is gone, except that a task which a worker has leased is neither, and that all of them stay
        if the body of one is a claim: fetch that, and ask for each of them again with `fetched` and its index
        as `start`.
        """
        args: tuple[Arg, ...] = (
            self.queue,
            start,
            limit,
            request_id or "",
            to_json(tags or {}),
            int(remove),
            max_bytes,
            int(fetched),
            int(not data),
        )

        def read(raw: Raw) -> Page:
            return Page(read_entries(raw[2:]), int(raw[0]), int(raw[1]))

        return Call("get_entries", self._of("entries", "rid"), args, read, repeatable=not remove)

    def count(self) -> Call[int]:
        """How many items are stored."""
        return Call("count_entries", self._of("entries"), (), int)

    def attributes(self) -> Call[Attributes]:
        """Counts, groups and watchers."""
        names = (
            *self._of("entries", "groups", "watchers"),
            self.keys.waiting,
            self.keys.leases,
            *self._of("eos"),
        )
        return Call("describe_queue", names, (self.queue,), _attributes)

    def search(self, index: int, *, group: str) -> Call[Search | None]:
        """Whether `index` is being processed in `group`, and how many are ahead; None if it is not stored.

        On the input queue the group named like the service is the workers' own, and a group that nobody has
        opened is told its place in the workers' line.
        """
        gid = safe(group)
        names = (
            *self._of("entries"),
            self.keys.waiting,
            *self._of(f"g:{gid}:todo", f"g:{gid}:pend", "prio", "groups"),
        )

        def read(raw: Raw) -> Search | None:
            if raw is None:
                return None
            consumer = text(raw[2])
            return Search(f"{group}.{consumer}" if consumer else "", bool(raw[0]), int(raw[1]))

        args = (self.queue, index, int(group == self.keys.service), gid)
        return Call("search_entry", names, args, read)

    def delete(self, indexes: Sequence[int]) -> Call[int]:
        """Remove items for all groups; answers how many were there. A worker that has one is told to stop.

        Deleting the end-of-stream marker opens the queue again.
        """
        names = self._of("entries", "rid", "eos")
        return Call("delete_entries", names, (self.queue, *indexes), int, durable=True)

    def truncate(self, before: int, *, limit: int = TRUNCATE_BATCH) -> Call[int]:
        """Remove items with an index below `before`, at most `limit`; call again while it answers `limit`.

        An end-of-stream marker below `before` goes with them: the queue is open again.
        """
        names = self._of("entries", "rid", "eos")
        return Call("truncate_entries", names, (self.queue, before, limit), int, durable=True)

    def end(self, *, force: bool = False, start: int = 0, limit: int = TRUNCATE_BATCH) -> Call[StreamEnd]:
        """End the stream: no more puts, and watchers are finished when they have consumed what is there.

        With `force` every watch ends at once and what was not delivered is dropped, at most `limit` items in
        one call; call again with `start` while the answer has a `next_index`. What a worker has leased stays.
        Removing the marker (delete, truncate) opens the queue again; results of tasks are stored in any case.
        """
        names = (
            *self._of("eos"),
            self.keys.seq(self.queue),
            *self._of("entries", "rid", "watchers", "groups"),
        )

        def read(raw: Raw) -> StreamEnd:
            return StreamEnd(int(raw[0]), int(raw[1]))

        return Call("end_stream", names, (self.queue, int(force), start, limit), read, durable=True)

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

    def deliver(
        self, *, group: str, uid: str, connection: str, limit: int, max_bytes: int = DELIVER_BYTES
    ) -> Call[Delivery]:
        """The next items for a watcher, at most `limit` and never beyond its window; says that it lives.

        Once their bodies reach `max_bytes` no more are added.

        Raises:
            StreamEndedError: the stream has ended and the group has consumed what this watcher could get.
            WatcherFencedError: the uid belongs to another connection, or was forgotten.
        """
        gid, who = safe(group), safe(uid)
        names = self._of(
            "watchers", f"g:{gid}:todo", f"g:{gid}:pend", f"g:{gid}:w:{who}", f"g:{gid}:c", "groups", "eos"
        )
        args = (self.queue, gid, who, connection, limit, max_bytes)

        def read(raw: Raw) -> Delivery:
            if isinstance(raw, int):
                raise_for(raw, f"uid {uid!r} of group {group!r}")
            return Delivery.of(read_entries(raw[2:]), left=int(raw[0]), room=int(raw[1]))

        # Items in an answer that got lost are pending with this watcher: it must leave, not ask again.
        return Call("deliver_entries", names, args, read, repeatable=False)

    def commit(self, indexes: Sequence[int], *, group: str) -> Call[int]:
        """The group is done with these; answers how many were stored. Committing twice changes nothing."""
        args: tuple[Arg, ...] = (self.queue, safe(group), *indexes)
        return Call("commit_entries", self._of("entries", "rid", "groups"), args, int, durable=True)

    def reject(
        self,
        indexes: Sequence[int],
        *,
        group: str,
        uid: str | None,
        call_id: str,
        error: str,
        max_delivery: int,
        exits: bool = False,
        data: bytes = b"",
        tags: Mapping[str, str] | None = None,
        rear: bool = True,
    ) -> Call[Rejected]:
        """A watcher failed with items that it has: they go back to their group (EAS's negative commit).

        An item that failed `max_delivery` times in the group is given up: on the input queue it counts as a
        delivery of the task, and the task becomes a dead letter; elsewhere the item is set aside, stored and
        readable but no longer delivered to this group.

        Args:
            uid: Whose items; None is whoever has them. What somebody else has by now is left alone.
            call_id: One call counts once, however often it is sent.
            error: Remembered with the item; newest in `Entry.last_error`.
            exits: The watcher stops soon: its items do not count as failed, and it gets no more of them.
            data: The result of a task that is dead now, and `tags` its extra tags; input only.
            rear: Keep dead tasks in the rear queue or drop them; input only.
        """
        gid = safe(group)
        names = (
            *self._of("groups", f"g:{gid}:todo", f"g:{gid}:pend", f"g:{gid}:failed", f"g:{gid}:aside"),
            *self._of(f"g:{gid}:c"),
            self.keys.of(SINK, "entries"),
        )
        args: tuple[Arg, ...] = (
            self.queue,
            gid,
            safe(uid) if uid else "",
            call_id,
            error,
            int(exits),
            max_delivery,
            data,
            to_json(tags or {}),
            int(rear),
            *indexes,
        )

        def read(raw: Raw) -> Rejected:
            return Rejected(int(raw[0]), int(raw[1]))

        return Call("reject_entries", names, args, read, durable=True)

    def leave(self, *, group: str, uid: str, connection: str) -> Call[int]:
        """The watcher's connection ended; answers how many items went back to the group."""
        gid = safe(group)
        names = self._of("watchers", f"g:{gid}:c", "groups")
        return Call("leave_watcher", names, (self.queue, gid, safe(uid), connection), int)

    def sweep(self) -> Call[int]:
        """Take items from watchers that fell silent, and forget old watchers and groups."""
        return Call("sweep_watchers", self._of("watchers", "groups", "entries"), (self.queue,), int)


def _attributes(raw: Raw) -> Attributes:
    length, first, last, waiting, leased, groups, watchers, now, marker, stored = raw
    return Attributes(
        length=int(length),
        first=int(first),
        last=max(int(last), int(marker)),  # clients truncate beyond it to clear a queue
        waiting=int(waiting),
        leased=int(leased),
        groups=tuple(
            Group(_name(gid), int(todo), int(pending), int(aside))
            for gid, todo, pending, aside in chunks(groups, 4)
        ),
        watchers=tuple(_watcher(item, int(now)) for item in chunks(watchers, 6)),
        marker=int(marker),
        bytes=int(stored),
    )


def _name(part: bytes) -> str:
    return unquote(text(part))


def _watcher(item: Sequence[Raw], now: int) -> Watcher:
    gid, uid, pending, alive_until, record_json, unconsumed = item
    record = mapping(record_json)
    left = record.get("left")
    connected = bool(record.get("connection"))
    if connected:
        state = "Leaving" if record.get("leaving") else "Running"
        idle = max(0, now - (int(float(alive_until)) - int(record.get("ttl", 0))))
    else:
        idle = max(0, now - int(left or now))
        state = ("Leaving" if idle < LEAVING_MS else "Exit") if unconsumed else "Complete"
    return Watcher(
        group=_name(gid),
        uid=_name(uid),
        start=int(record.get("start", 0)),
        pending=int(pending),
        state=state,
        idle_ms=idle,
        window=int(record.get("window", 0)),
        auto_commit=bool(record.get("auto_commit", False)),
        tags=mapping(record.get("tags")),
    )
