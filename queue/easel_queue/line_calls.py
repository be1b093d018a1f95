"""How a task joins the line of those that wait, and how a worker takes the next one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

from typing_extensions import Unpack

from easel_queue.call import Arg, Call, Raw, mapping, split_body, text, to_json
from easel_queue.errors import TooFastError, raise_for
from easel_queue.keys import INPUT, PRIORITY_MAX, PRIORITY_MIN, SINK, Keys
from easel_queue.model import NO_KIN, NOBODY, Body, Claim, Eviction, Kin, Once, Origin, Placed, Reply, Task

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
    if len(raw) == 2:
        raise TooFastError(refusal, int(raw[1]) / 1000)
    index, first, to = raw
    to = Reply(text(to)) if to else Reply.SINK
    return Placed(int(index), text(first), repeated=text(first) != request_id, reply=to)


class Serving(TypedDict, total=False):
    """What a worker says when it asks for work. All of it may be left out."""

    sink_max_length: int
    """Hand nothing out while the sink holds this many results; 0 is no limit."""
    sink_max_bytes: int
    """The same for their bytes."""
    sink_evict: bool
    """A full sink drops its oldest results instead."""
    user_max_working: int
    """Tasks of one user that may be leased at a time; 0 is no limit. With 1 they are done in order."""
    models: Sequence[str]
    """What the worker has at hand, best first: tasks whose `Kin.models` name it are preferred."""
    begin: bool
    """Start the work in the same step, for a worker that has nothing else to do: counts the delivery."""
    bypass: int
    """How often a task may be passed over for such a preference; 0 is never."""


class LineCalls:
    """Builds the calls of the line: put and reserve."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def put(
        self,
        data: Body,
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
        origin: Origin = NOBODY,
        kin: Kin = NO_KIN,
    ) -> Call[Placed]:
        """Accept a task. A known request id answers its first index, so a put may be repeated.

        Args:
            data: The body, opaque to the queue, or a claim of it.
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
            origin: The user, and what that user may put.
            kin: What the task has in common with others.

        Raises:
            QueueFullError, SinkFullError, TooLargeError, UserFullError, TooFastError: nothing was stored.
            StreamEndedError: the input's stream was ended; nothing was stored.
            KeyReusedError: the key is known, with another request.
            RequestIdTakenError: the key is new, the request id is not.
            ClaimWantedError, ClaimLostError: see `Claim`; nothing was stored.
        """
        keys = self.keys
        data, claim = split_body(data)
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
            claim,
            origin.user,
            max(1, round(origin.share * 1000)),
            _kin_lines(kin),
            origin.max_waiting,
            origin.per_minute,
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

    def reserve(self, *, worker: str, lease_ms: int, **how: Unpack[Serving]) -> Call[Task | None]:
        """Lease the next task; None when nothing may be served or the sink is full.

        Counts no delivery, unless it is to `begin`.
        """
        call = self.reserve_batch(worker=worker, lease_ms=lease_ms, limit=1, **how)

        def read(raw: Raw) -> Task | None:
            return next(iter(call.read(raw)), None)

        return Call(call.script, call.keys, call.args, read, repeatable=False)

    def reserve_batch(
        self, *, worker: str, lease_ms: int, limit: int, **how: Unpack[Serving]
    ) -> Call[tuple[Task, ...]]:
        """Lease the next task, and up to `limit` in all that can be rendered in one batch with it.

        Each has a lease, a cancel and a result of its own. The others have the same priority and `Kin.batch`,
        and come in their users' turns and orders. Empty when nothing may be served or the sink is full.
        """
        keys = self.keys
        names = (keys.waiting, keys.leases, keys.token, keys.bell, keys.of(SINK, "entries"))
        args: tuple[Arg, ...] = (
            worker,
            lease_ms,
            how.get("sink_max_length", 0),
            how.get("sink_max_bytes", 0),
            int(how.get("sink_evict", False)),
            limit,
            how.get("user_max_working", 0),
            how.get("bypass", 0),
            int(how.get("begin", False)),
            *(_model(name) for name in how.get("models", ())),
        )

        def read(raw: Raw) -> tuple[Task, ...]:
            return tuple(read_task(item) for item in raw)

        # Repeating it after a lost answer would lease further tasks; the first would wait out their leases.
        return Call("reserve_task", names, args, read, repeatable=False)


def _kin_lines(kin: Kin) -> str:
    """One name a line, the batch's first; an empty first line says that there is none."""
    names = [f"b:{kin.batch}" if kin.batch else "", *(_model(name) for name in kin.models)]
    if any("\n" in name for name in names):
        raise ValueError(f"{kin}: a name has no line breaks")
    return "\n".join(names).rstrip("\n")


def _model(name: str) -> str:
    return f"m:{name}"


def read_task(raw: Raw) -> Task:
    """A task as the scripts describe it."""
    index, token, until, rid, tags, meta, data, prio, at, deliveries, reply, errors, claim = raw
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
        last_error=last_of(errors),
        claim=Claim.read(text(claim)),
    )


def last_of(errors: bytes) -> str:
    """The newest of the remembered errors (a JSON list); empty when there are none."""
    noted = json.loads(errors) if errors else []
    return str(noted[-1]) if noted else ""
