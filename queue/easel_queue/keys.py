"""All Redis keys of a service, and what each one stores.

Every key starts with ``easel:{<service>}``; the braces are a Redis Cluster hash tag, so the whole
service lives in one slot and a script may touch all of it.

Per queue (``in`` the input, ``sink`` the results, ``rear`` the dead letters)::

    …:<q>:seq               string  last index given out (the rear keeps the input's indexes)
    …:<q>:entries           zset    index -> index; what is stored, in order of arrival
    …:<q>:rid               hash    request id -> index
    …:<q>:prio              zset    index -> order; only items whose priority is not 0
    …:<q>:eos               string  index of the end-of-stream marker; absent while the queue is open
    …:<q>:bytes             string  sum of the items' sizes: data, tags and meta as stored, and what claims
                                    stand for
    …:<q>:e:<index>         hash    data, tags (JSON), meta (JSON), rid, prio, at (ms), errors (JSON list),
                                    size (bytes), idem (name of its idempotency key's hash),
                                    claim ("<bytes> <name>": the body lies elsewhere, data is empty)
                                    input only: state, dlv, token, worker, reply, progress,
                                    cancel_tags, cancel_data, reaping, requeued, passed (times bypassed),
                                    interrupt, skips (of the delivery that runs)
                                    rear only: dlv, put_at (ms)
                                    both: user, kin (what it has in common with others, a name a line;
                                    the first says with what it can be rendered in one batch)
    …:<q>:groups            zset    consumer group -> ms at which somebody of it was last here
    …:<q>:watchers          zset    "<gid> <uid>" -> ms at which the watcher counts as gone, or is forgotten
    …:<q>:g:<gid>:todo      zset    index -> order; not yet delivered to this group
    …:<q>:g:<gid>:pend      hash    index -> uid; delivered, not committed
    …:<q>:g:<gid>:w:<uid>   zset    index -> index; the same seen from one watcher
    …:<q>:g:<gid>:failed    hash    index -> "<negative commits> <id of the last one>"
    …:<q>:g:<gid>:aside     zset    index -> index; given up by this group, no longer delivered to it
    …:<q>:g:<gid>:c         hash    uid -> JSON record of the watcher (connection, window, start, …)

Input queue only::

    …:in:waiting            zset    index -> order (priority, then index); ZRANK is the position
    …:in:lane:<prio>:<user> zset    index -> index; one user's waiting tasks of one priority
    …:in:levels             zset    priority -> -priority; those at which a task may be served
    …:in:level:<prio>       zset    place -> virtual time of its turn; the lanes that may be served. A place
                                    is the index of the lane's first task, 16 digits, and its user
    …:in:seated:<prio>      zset    place -> bypasses of the level before it, its own taken off
    …:in:kin:<prio>:<name>  zset    place -> virtual time; the lanes whose first task has this name in kin
    …:in:past:<prio>        zset    user -> virtual time before which a lane that comes back is not served
    …:in:clock:<prio>       hash    now (virtual time), weight (shares that wait), bypasses
    …:in:shares             hash    user -> share in thousandths; only those that are not 1
    …:in:user:<user>        hash    waiting, working (leased), parked (has no places until a task of it ends),
                                    p:<prio> for each lane; absent when there is nothing
    …:in:puts:<user>        zset    index -> ms; tasks of the last minute, where their number is limited
    …:in:leases             zset    index -> ms at which the lease ends; reserved and running tasks
    …:in:started            zset    index -> ms at which the running delivery started
    …:in:token              string  last lease token given out
    …:in:paused             string  there while workers are to take no tasks
    …:in:bell               list    one element wakes one idle worker (BLPOP)

Per service::

    …:idem:<q>:<user>:<key> hash    what was put under an idempotency key: index, rid, reply, print (digest of
                                    the request); expires an hour after the item is gone
    …:reply:<rid>           hash    result of a task whose caller waits or comes back later (data or claim,
                                    tags, at, keep, state, interrupted); expires
    …:record:<rid>          hash    what was asked of a task whose result is kept (user, name, kind, params,
                                    at, bookmarked, cut); expires a week after its end
    …:records               zset    request id -> ms at which its record was made
    …:claims:announced      zset    name of a claim whose body is being brought -> ms at which that began
    …:claims:gone           zset    name of a claim that nothing refers to -> ms since when (or from when)
    …:done:<rid>            hash    how a task ended (index, state, token, sink); expires
    …:alias:<user>:<name>   string  request id of the task that its sender calls so; expires
    …:preview:<rid>         hash    newest preview of a running task (number, type, data); expires
    …:inbox:<worker>        list    "cancel <index>", "drop <token>", "do <order>", "interrupt <token>" and
                                    "skip <token> <how many times so far>" for one worker; expires
    …:options               string  the service's options that are not at their defaults, JSON; every task
                                    gets a copy in its meta
    …:workers               zset    worker id -> ms of its last heartbeat
    …:worker:<id>           string  JSON heartbeat; expires
    …:promoted              string  id of the last promotion of a replica that the counters were moved on for
    …:barrier               string  empty; written before WAIT, which waits for a connection's own last write
    …:events                channel what changed, as JSON: {"q": queue} and/or {"r": rid, "s": state, …}
    …:arrivals              channel the same for tasks that were put, which are many and concern few

Order: a larger priority is served first, within a priority the smaller index. Both are packed into one
score, ``index - priority * 2**43``. Priorities are clamped to -511..511, so the score stays within the
53 bits that a double holds exactly, and leaves room for 8.8e12 indexes. An item of priority 0 scores its
index, so a new group's list is `entries` without those in `prio`, and `prio`.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from redis.crc import key_slot

INPUT = "in"
SINK = "sink"
REAR = "rear"

PRIORITY_MIN = -511
PRIORITY_MAX = 511

_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")


class Keys:
    """Builds every key of one service.

    Raises:
        ValueError: the service name has characters that a URL path or a hash tag could not carry.
    """

    def __init__(self, service: str) -> None:
        if not _SERVICE.match(service):
            raise ValueError(
                f"service {service!r}: use 1 to 100 letters, digits, '_', '-' or '.', "
                "starting with a letter or digit"
            )
        self.service = service
        self.root = f"easel:{{{service}}}"
        self.events = f"{self.root}:events"
        self.arrivals = f"{self.root}:arrivals"
        self.workers = f"{self.root}:workers"
        self.options = f"{self.root}:options"
        self.barrier = f"{self.root}:barrier"
        self.promoted = f"{self.root}:promoted"
        self.waiting = self.of(INPUT, "waiting")
        self.leases = self.of(INPUT, "leases")
        self.token = self.of(INPUT, "token")
        self.bell = self.of(INPUT, "bell")
        self.claims_announced = f"{self.root}:claims:announced"
        self.claims_gone = f"{self.root}:claims:gone"
        self.records = f"{self.root}:records"

    @property
    def slot(self) -> int:
        """The Redis Cluster slot of all these keys."""
        return key_slot(self.root.encode())

    def of(self, queue: str, name: str) -> str:
        """Key ``name`` of ``queue``, for example ``of("sink", "entries")``."""
        return f"{self.root}:{queue}:{name}"

    def seq(self, queue: str) -> str:
        """Index counter; the rear shares the input's so that a dead letter keeps its index."""
        return self.of(INPUT if queue == REAR else queue, "seq")

    def idempotency(self, queue: str, user: str, key: str) -> str:
        """What was put into `queue` under one user's idempotency key."""
        return f"{self.root}:idem:{queue}:{safe(user)}:{safe(key)}"

    def inbox(self, worker: str) -> str:
        """List of messages for one worker."""
        return f"{self.root}:inbox:{worker}"

    def worker(self, worker: str) -> str:
        """Heartbeat of one worker."""
        return f"{self.root}:worker:{worker}"

    def reply(self, request_id: str) -> str:
        """Result kept for a caller that waits."""
        return f"{self.root}:reply:{request_id}"

    def done(self, request_id: str) -> str:
        """How a task ended."""
        return f"{self.root}:done:{request_id}"

    def record(self, request_id: str) -> str:
        """What was asked of a task whose result is kept."""
        return f"{self.root}:record:{request_id}"

    def alias(self, user: str, name: str) -> str:
        """The task that one user calls by a name."""
        return f"{self.root}:alias:{safe(user)}:{safe(name)}"

    def preview(self, request_id: str) -> str:
        """Newest preview of a running task."""
        return f"{self.root}:preview:{request_id}"


def safe(name: str) -> str:
    """A group or watcher id as a key part: percent-encoded, so that no id can spell another's key."""
    return quote(name, safe="")
