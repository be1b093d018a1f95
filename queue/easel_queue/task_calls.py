"""The life of a task, one call per transition (`docs/queue.md` has the drawing).

Times are milliseconds. A lease is a worker's time-limited right to a task; its token fences: whoever shows
an older token gets LeaseLostError and has changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from easel_queue.call import Call, Raw, chunks, mapping, split_body, text, to_json
from easel_queue.errors import raise_for
from easel_queue.keys import INPUT, REAR, SINK
from easel_queue.line_calls import last_of, read_task, with_request_id
from easel_queue.model import (
    Body,
    CancelOutcome,
    Claim,
    Entry,
    Failed,
    Finished,
    Reaped,
    Renewal,
    State,
    Status,
    Task,
    Worker,
)
from easel_queue.run_calls import RunCalls


class TaskCalls(RunCalls):
    """Builds the calls about tasks of one service."""

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
        self, task: Task, data: Body, *, tags: Mapping[str, str] | None = None, state: State = State.DONE
    ) -> Call[Finished]:
        """End the task with its result: the task's tags, `tags` over them, and `data`.

        An empty `data` ends the task without a result in the sink. Repeating it is safe.

        Raises:
            LeaseLostError: the result must be dropped; another delivery will bring one.
            ClaimWantedError, ClaimLostError: see `Claim`; the task goes on.
        """
        keys = self.keys
        data, claim = split_body(data)
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
        args = (task.index, task.token, task.request_id, data, _result_tags(task, tags), state.value, claim)

        def read(raw: Raw) -> Finished:
            raise_for(int(raw), f"task {task.index}: finish")
            return Finished(int(raw))

        return Call("finish_task", names, args, read, durable=True)

    def fail(
        self,
        task: Task,
        *,
        error: str,
        data: Body,
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
            ClaimWantedError, ClaimLostError: see `Claim`; only if the task is dead now. Nothing has changed.
        """
        keys = self.keys
        data, claim = split_body(data)
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
            claim,
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
            return Reaped(int(raw[0]), int(raw[1]), tuple(read_task(item) for item in raw[2:]))

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

    def take_reply(self, request_id: str, *, fetched: bool = False) -> Call[Entry | None]:
        """The result of a task with a direct reply; None if it is not there (yet, or any more).

        It is handed out once; that of a put with an idempotency key, until it expires after ten minutes. A
        result that is a claim is handed out until its body was `fetched`.
        """

        def read(raw: Raw) -> Entry | None:
            if raw is None:
                return None
            claim = Claim.read(text(raw[3]))
            return Entry(0, request_id, mapping(raw[1]), bytes(raw[0]), enqueued_ms=int(raw[2]), claim=claim)

        # Repeating it after a lost answer would find nothing and look like "not yet".
        return Call("take_reply", (self.keys.reply(request_id),), (int(fetched),), read, repeatable=False)

    def heartbeat(self, worker: str, info: Mapping[str, object], *, ttl_ms: int = 15_000) -> Call[None]:
        """Say that a worker lives. `info` is shown to operators; it counts as gone after `ttl_ms`."""
        names = (self.keys.workers, self.keys.worker(worker))
        return Call("beat_worker", names, (worker, to_json(info), ttl_ms), lambda raw: None)

    def tell_workers(self, message: str, *, ttl_ms: int = 60_000) -> Call[int]:
        """Put one message into the inbox of every living worker; answers how many were told.

        A worker that does not read it within `ttl_ms` (it is being stopped, say) never will.
        """
        return Call("tell_workers", (self.keys.workers,), (message, ttl_ms), int, repeatable=False)

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
    cancelled, interrupted, skips = raw[1]
    return Renewal(int(float(raw[0])), bool(cancelled), bool(interrupted), int(skips))


def read_entries(raw: list[Raw]) -> tuple[Entry, ...]:
    """Entries from the flat reply of get and deliver: nine fields each."""
    return tuple(
        Entry(
            index=int(index),
            request_id=text(rid),
            tags=mapping(tags),
            data=bytes(data),
            priority=int(prio),
            enqueued_ms=int(at),
            meta=mapping(meta),
            last_error=last_of(errors),
            claim=Claim.read(text(claim)),
        )
        for index, rid, tags, data, prio, at, meta, errors, claim in chunks(raw, 9)
    )
