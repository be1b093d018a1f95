"""Looks into Redis past all proxies: how far the run is, who holds what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import redis

from easel_queue.keys import INPUT, SINK, Keys

from .parts import PATIENCE_S, StuckError

LOOK_S = 0.05
"""Pause between two looks: a lease that ends, or a result that is committed, has no signal of its own."""

_DOWN = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


class Observer:
    """Counts committed results in a thread of its own, and answers questions about leases and watchers."""

    def __init__(self, url: str, service: str) -> None:
        self._keys = Keys(service)
        # Any: redis-py types answers for its asynchronous client, too.
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=5.0, decode_responses=True)
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self.committed = 0
        self._thread = threading.Thread(target=self._count, name="observer", daemon=True)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(10)
        self._redis.close()

    def wait_committed(self, count: int, check: Callable[[], None] = lambda: None) -> None:
        """Return once `count` results were committed; `check` raises when that cannot happen any more.

        Raises:
            StuckError: none was committed for `PATIENCE_S` seconds.
        """
        seen, since = self.committed, time.monotonic()
        with self._changed:
            while self.committed < count:
                self._changed.wait(0.5)
                check()
                if self.committed != seen:
                    seen, since = self.committed, time.monotonic()
                elif time.monotonic() - since > PATIENCE_S:
                    raise StuckError(f"{seen} of {count} results are committed, and no more since a minute")

    def wait(self, what: str, reached: Callable[[], bool]) -> None:
        """Return once `reached` is true; it may meet a Redis that is down. Raises StuckError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if reached():
                    return
            except _DOWN:
                pass
            if time.monotonic() > deadline:
                raise StuckError(f"waited in vain: {what}")
            time.sleep(LOOK_S)

    def answers(self) -> bool:
        """Whether Redis answers."""
        return bool(self._redis.ping())

    def running_on(self, pid: int) -> dict[str, tuple[str, str]]:
        """What the worker process `pid` runs: index -> (lease token, request id)."""
        found = {}
        for index in self._redis.zrange(self._keys.leases, 0, -1):
            worker, state, token, request_id = self._task(index, "worker", "state", "token", "rid")
            if state == "running" and f"-{pid}-" in worker:
                found[index] = (token, request_id)
        return found

    def lost(self, held: dict[str, tuple[str, str]]) -> bool:
        """Whether none of these leases counts any more."""
        return all(self._task(index, "token")[0] != token for index, (token, _) in held.items())

    def ended_by_others(self, held: dict[str, tuple[str, str]]) -> set[str]:
        """Those request ids whose task did not end under the lease held then."""
        return {
            request_id
            for token, request_id in held.values()
            if self._redis.hget(self._keys.done(request_id), "token") != token
        }

    def connected(self, uid: str) -> bool:
        """Whether the queue takes the watcher for connected."""
        record = self._redis.hget(self._keys.of(SINK, "g:eas:c"), uid)
        return record is not None and '"connection":""' not in record

    def left_over(self) -> dict[str, int]:
        """What is stored where nothing should be at the end; empty when all is clean."""
        names = {
            "tasks": self._keys.of(INPUT, "entries"),
            "waiting": self._keys.waiting,
            "leases": self._keys.leases,
            "results": self._keys.of(SINK, "entries"),
            "undelivered": self._keys.of(SINK, "g:eas:todo"),
        }
        counts = {name: int(self._redis.zcard(key)) for name, key in names.items()}
        counts["uncommitted"] = int(self._redis.hlen(self._keys.of(SINK, "g:eas:pend")))
        for queue in (INPUT, SINK):
            counts[f"bytes of {queue}"] = int(self._redis.get(self._keys.of(queue, "bytes")) or 0)
        return {name: count for name, count in counts.items() if count}

    def _task(self, index: str, *fields: str) -> list[str]:
        found = self._redis.hmget(self._keys.of(INPUT, f"e:{index}"), fields)
        return [value or "" for value in found]

    def _count(self) -> None:
        entries, seq = self._keys.of(SINK, "entries"), self._keys.seq(SINK)
        while not self._ending.wait(LOOK_S):
            try:
                with self._redis.pipeline(transaction=True) as both:
                    stored, given_out = both.zcard(entries).get(seq).execute()
            except _DOWN:
                continue
            with self._changed:
                self.committed = int(given_out or 0) - stored
                self._changed.notify_all()
