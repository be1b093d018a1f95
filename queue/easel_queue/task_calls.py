"""The life of a task, one call per transition (`docs/queue.md` has the drawing).

Times are milliseconds. A lease is a worker's time-limited right to a task; its token fences: whoever shows
an older token gets LeaseLostError and has changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from easel_queue.call import Call, Raw, chunks, mapping, text, to_json
from easel_queue.errors import raise_for
from easel_queue.keys import INPUT, PRIORITY_MAX, PRIORITY_MIN, REAR, SINK, Keys
from easel_queue.model import (
    CancelOutcome,
    Entry,
    Eviction,
    Failed,
    Finished,
    Once,
    Placed,
    Reaped,
    Renewal,
    Reply,
    State,
    Status,
    Task,
    Worker,
)

REQUEST_ID_TAG = "requestId"


def with_request_id(tags: Mapping[str, str], request_id: str) -> str:
    """Tags as stored: the request id is always one of them, and the client cannot choose another."""
    return to_json({**tags, REQUEST_ID_TAG: request_id})


def clamp_priority(priority: int) -> int:
    """Priorities beyond what a score can carry count as the most extreme one."""
    return max(PRIORITY_MIN, min(PRIORITY_MAX, priority))


def once_key(keys: Keys, queue: str, once: Once | None) -> str:
    """The key behind an idempotency key; without one a name that nothing uses, as scripts have fixed KEYS."""
    return keys.idempotency(queue, once.user, once.key) if once else keys.of(queue, "once")


def read_placed(raw: Raw, request_id: str, reply: Reply, refusal: str) -> Placed:
    """The answer of a put: the index, or what the first put of an idempotency key was answered."""
    if isinstance(raw, int):
        raise_for(raw, refusal)
        return Placed(raw, request_id, reply=reply)
    index, first, to = raw
    to = Reply(text(to)) if to else Reply.SINK
    return Placed(int(index), text(first), repeated=text(first) != request_id, reply=to)


class TaskCalls:
    """Builds the calls about tasks of one service."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def put(
        self,
        data: bytes,
        *,
        request_id: str,
        tags: Mapping[str, str] | None = None,
        meta: Mapping[str, str] | None = None,
        priority: int = 0,
        reply: Reply = Reply.SINK,
        max_length: int = 0,
        sink_max_length: int = 0,
        max_bytes: int = 0,
        sink_max_bytes: int = 0,
        sink_evict: bool = False,
        evict: Eviction | None = None,
        once: Once | None = None,
    ) -> Call[Placed]:
        """Accept a task. A known request id answers its first index, so a put may be repeated.

        Args:
            data: The body, opaque to the queue.
            request_id: Unique; travels as the tag ``requestId`` and finds the task again.
            tags: What the client wants to see again with the result.
            meta: What the worker needs besides the body (path, content type, user).
            priority: Larger is served first; clamped to -511..511.
            reply: Where the result goes.
            max_length: Refuse when the queue holds this many tasks; 0 is no limit.
            sink_max_length: Refuse a direct reply while the sink holds this many results; 0 is no limit.
            max_bytes, sink_max_bytes: The same for the bytes stored (data, tags and meta).
            sink_evict: A full sink drops its oldest results instead.
            evict: A full queue drops waiting tasks instead, the oldest of the lowest priority first, none
                more urgent than this one; each ends with this result.
            once: The idempotency key. A known one answers what the first put was answered.

        Raises:
            QueueFullError, SinkFullError, TooLargeError: nothing was stored.
            StreamEndedError: the input's stream was ended; nothing was stored.
            KeyReusedError: the key is known, with another request.
            RequestIdTakenError: the key is new, the request id is not.
        """
        keys = self.keys
        args = (
            request_id,
            data,
            with_request_id(tags or {}, request_id),
            to_json(meta or {}),
            clamp_priority(priority),
            reply.value,
            max_length,
            sink_max_length,
            once.fingerprint if once else "",
            max_bytes,
            sink_max_bytes,
            int(sink_evict),
            int(evict is not None),
            evict.data if evict else b"",
            to_json(evict.tags if evict else {}),
        )
        names = (
            keys.seq(INPUT),
            keys.of(INPUT, "entries"),
            keys.of(INPUT, "rid"),
            keys.of(INPUT, "groups"),
            keys.waiting,
            keys.bell,
            keys.of(SINK, "entries"),
            keys.of(INPUT, "eos"),
            once_key(keys, INPUT, once),
        )

        def read(raw: Raw) -> Placed:
            limits = f"the input queue's limits are {max_length} tasks and {max_bytes} bytes (0: none)"
            return read_placed(raw, request_id, reply, f"put refused: {limits}")

        return Call("put_task", names, args, read, durable=True)

    def reserve(
        self,
        *,
        worker: str,
        lease_ms: int,
        sink_max_length: int = 0,
        sink_max_bytes: int = 0,
        sink_evict: bool = False,
    ) -> Call[Task | None]:
        """Lease the next task; None when nothing waits or the sink is full. Counts no delivery.

        With `sink_evict` a full sink drops its oldest results before a task is handed out.
        """
        keys = self.keys
        names = (keys.waiting, keys.leases, keys.token, keys.bell, keys.of(SINK, "entries"))

        def read(raw: Raw) -> Task | None:
            return None if raw is None else _task(raw)

        # Repeating it after a lost answer would lease a second task; the first would wait out its lease.
        args = (worker, lease_ms, sink_max_length, sink_max_bytes, int(sink_evict))
        return Call("reserve_task", names, args, read, repeatable=False)

    def start(self, task: Task, *, lease_ms: int) -> Call[int]:
        """Begin the work: the delivery counts from now. Answers the number of deliveries including this one.

        Raises:
            LeaseLostError: somebody else has the task, or it is gone.
            TaskCancelledError: it was cancelled while it was prefetched.
        """

        def read(raw: Raw) -> int:
            raise_for(int(raw), f"task {task.index}: start")
            return int(raw)

        args = (task.index, task.token, task.request_id, lease_ms)
        return Call("start_task", (self.keys.leases,), args, read, durable=True)

    def extend(self, task: Task, *, lease_ms: int) -> Call[Renewal]:
        """Renew the lease. Raises LeaseLostError."""
        args = (task.index, task.token, lease_ms)
        return Call("extend_task", (self.keys.leases,), args, lambda raw: _renewal(raw, task, "extend"))

    def progress(self, task: Task, snapshot: Mapping[str, object]) -> Call[Renewal]:
        """Store and publish how far the task is. Raises LeaseLostError."""
        args = (task.index, task.token, task.request_id, to_json(snapshot))
        return Call("progress_task", (self.keys.leases,), args, lambda raw: _renewal(raw, task, "progress"))

    def finish(
        self, task: Task, data: bytes, *, tags: Mapping[str, str] | None = None, state: State = State.DONE
    ) -> Call[Finished]:
        """End the task with its result: the task's tags, `tags` over them, and `data`.

        An empty `data` ends the task without a result in the sink. Repeating it is safe.

        Raises:
            LeaseLostError: the result must be dropped; another delivery will bring one.
        """
        keys = self.keys
        names = (
            keys.of(INPUT, "entries"),
            keys.of(INPUT, "rid"),
            keys.of(INPUT, "groups"),
            keys.leases,
            keys.seq(SINK),
            keys.of(SINK, "entries"),
            keys.of(SINK, "rid"),
            keys.of(SINK, "groups"),
        )
        args = (task.index, task.token, task.request_id, data, _result_tags(task, tags), state.value)

        def read(raw: Raw) -> Finished:
            raise_for(int(raw), f"task {task.index}: finish")
            return Finished(int(raw))

        return Call("finish_task", names, args, read, durable=True)

    def fail(
        self,
        task: Task,
        *,
        error: str,
        data: bytes,
        tags: Mapping[str, str] | None = None,
        max_delivery: int,
        rear: bool = True,
    ) -> Call[Failed]:
        """End this delivery with an error. Below `max_delivery` the task waits again; at it, it is dead.

        A task that was cancelled meanwhile ends as cancelled.

        Args:
            error: Remembered with the task, one line per delivery.
            data: The result if the task is dead now; unused otherwise.
            tags: Extra tags of that result.
            max_delivery: How often a task may be started.
            rear: Keep the dead task in the rear queue (EAS policy Rear) or drop it.

        Raises:
            LeaseLostError: the task is no longer the caller's.
        """
        keys = self.keys
        names = (
            keys.of(INPUT, "entries"),
            keys.waiting,
            keys.leases,
            keys.bell,
            keys.seq(SINK),
            keys.of(SINK, "entries"),
            keys.of(REAR, "entries"),
            keys.of(REAR, "rid"),
        )
        args = (
            task.index,
            task.token,
            task.request_id,
            error,
            data,
            _result_tags(task, tags),
            max_delivery,
            int(rear),
        )

        def read(raw: Raw) -> Failed:
            if isinstance(raw, int):
                raise_for(raw, f"task {task.index}: fail")
            return Failed(State(text(raw[0])), int(raw[1]))

        return Call("fail_task", names, args, read, durable=True)

    def release(self, task: Task) -> Call[None]:
        """Give the task back to its old place; a begun delivery is not counted. Raises LeaseLostError."""
        names = (self.keys.waiting, self.keys.leases, self.keys.bell)

        def read(raw: Raw) -> None:
            raise_for(int(raw), f"task {task.index}: release")

        return Call("release_task", names, (task.index, task.token), read)

    def cancel(
        self, *, request_id: str, data: bytes, tags: Mapping[str, str] | None = None
    ) -> Call[CancelOutcome]:
        """Cancel one task. `data` and `tags` are its result, unless its worker writes one."""
        keys = self.keys
        names = (keys.of(INPUT, "rid"), keys.waiting, keys.seq(SINK), keys.of(SINK, "entries"))
        args = (request_id, data, to_json(tags or {}))
        return Call("cancel_task", names, args, lambda raw: CancelOutcome(text(raw)), durable=True)

    def reap(
        self,
        *,
        reaper: str,
        max_delivery: int,
        limit: int = 100,
        lease_ms: int = 30_000,
        max_idle_ms: int = 0,
    ) -> Call[Reaped]:
        """Take tasks from workers whose lease ran out, or whose delivery began too long ago.

        Too long is `max_idle_ms`, 0 no such limit; the worker of such a task is told to drop its work.

        The exhausted ones come leased to `reaper` for `lease_ms`, who ends them with `fail`; if it does not,
        the next reaper gets them. Those that were being cancelled end here.
        """
        names = (self.keys.leases, self.keys.waiting, self.keys.token)

        def read(raw: Raw) -> Reaped:
            return Reaped(int(raw[0]), int(raw[1]), tuple(_task(item) for item in raw[2:]))

        return Call("reap_tasks", names, (reaper, max_delivery, limit, lease_ms, max_idle_ms), read)

    def status(self, request_id: str) -> Call[Status | None]:
        """Where a task is; None if it was never seen or ended more than an hour ago."""
        names = (self.keys.of(INPUT, "rid"), self.keys.waiting)

        def read(raw: Raw) -> Status | None:
            if raw is None:
                return None
            return Status(
                request_id=request_id,
                index=int(raw[0]),
                state=State(text(raw[1])),
                ahead=int(raw[2]),
                deliveries=int(raw[3]),
                worker=text(raw[4]),
                progress=mapping(raw[5]),
                tags=mapping(raw[6]),
                errors=tuple(json.loads(raw[7])) if raw[7] else (),
                sink_index=int(raw[8]),
            )

        return Call("status_task", names, (request_id,), read)

    def take_reply(self, request_id: str) -> Call[Entry | None]:
        """The result of a task with a direct reply; None if it is not there (yet, or any more).

        It is handed out once; that of a put with an idempotency key, until it expires after ten minutes.
        """

        def read(raw: Raw) -> Entry | None:
            if raw is None:
                return None
            return Entry(0, request_id, mapping(raw[1]), bytes(raw[0]), enqueued_ms=int(raw[2]))

        # Repeating it after a lost answer would find nothing and look like "not yet".
        return Call("take_reply", (self.keys.reply(request_id),), (), read, repeatable=False)

    def heartbeat(self, worker: str, info: Mapping[str, object], *, ttl_ms: int = 15_000) -> Call[None]:
        """Say that a worker lives. `info` is shown to operators; it counts as gone after `ttl_ms`."""
        names = (self.keys.workers, self.keys.worker(worker))
        return Call("beat_worker", names, (worker, to_json(info), ttl_ms), lambda raw: None)

    def workers(self) -> Call[tuple[Worker, ...]]:
        """Every worker whose heartbeat has not expired."""

        def read(raw: Raw) -> tuple[Worker, ...]:
            return tuple(Worker(text(name), int(float(seen)), mapping(info)) for name, seen, info in raw)

        return Call("list_workers", (self.keys.workers,), (), read)


def _result_tags(task: Task, extra: Mapping[str, str] | None) -> str:
    return with_request_id({**task.tags, **(extra or {})}, task.request_id)


def _renewal(raw: Raw, task: Task, what: str) -> Renewal:
    if isinstance(raw, int):
        raise_for(raw, f"task {task.index}: {what}")
    return Renewal(int(float(raw[0])), bool(raw[1]))


def _task(raw: Raw) -> Task:
    index, token, until, rid, tags, meta, data, prio, at, deliveries, reply, errors = raw
    return Task(
        index=int(index),
        request_id=text(rid),
        token=int(token),
        tags=mapping(tags),
        meta=mapping(meta),
        data=bytes(data),
        priority=int(prio),
        enqueued_ms=int(at),
        deliveries=int(deliveries),
        lease_until_ms=int(until),
        reply=Reply(text(reply)),
        last_error=_last(errors),
    )


def read_entries(raw: list[Raw]) -> tuple[Entry, ...]:
    """Entries from the flat reply of get and deliver: eight fields each."""
    return tuple(
        Entry(
            index=int(index),
            request_id=text(rid),
            tags=mapping(tags),
            data=bytes(data),
            priority=int(prio),
            enqueued_ms=int(at),
            meta=mapping(meta),
            last_error=_last(errors),
        )
        for index, rid, tags, data, prio, at, meta, errors in chunks(raw, 8)
    )


def _last(errors: bytes) -> str:
    """The newest of the remembered errors (a JSON list); empty when there are none."""
    noted = json.loads(errors) if errors else []
    return str(noted[-1]) if noted else ""
