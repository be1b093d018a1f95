"""The count of bytes equals what is stored, whatever was done; and no claim is lost, or kept by two."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from easel_queue import (
    INPUT,
    REAR,
    SINK,
    Body,
    ClaimWantedError,
    Eviction,
    Queue,
    StreamCalls,
    StreamEndedError,
    Task,
)
from easel_queue.call import Call

from .claiming import announced, gone, held, new_claim
from .conftest import Bench, Clock

LONG_MS = 10**9
_calls = itertools.count()


def check(queue: Queue) -> None:
    """Compare each queue's count with the sizes of its items, added up one by one."""
    for name, stream in ((INPUT, queue.source), (SINK, queue.sink), (REAR, queue.rear)):
        stored = 0
        for entry in queue.run(stream.get(limit=1000)).entries:
            item = queue.keys.of(name, f"e:{entry.index}")
            stored += sum(int(queue._redis.hstrlen(item, field)) for field in ("data", "tags", "meta"))
            stored += entry.claim.size if entry.claim else 0
        assert queue.run(stream.attributes()).bytes == stored, name


class Storm:
    """Random calls of every kind that stores or removes something, on small full queues."""

    def __init__(self, queue: Queue, seed: int) -> None:
        self.queue = queue
        self.chance = random.Random(seed)
        self.leases: list[Task] = []
        self.puts = 0
        self.seen: Counter[str] = Counter()
        self.brought: list[str] = []
        for stream in (queue.source, queue.sink, queue.rear):
            self.join(stream)

    def join(self, stream: StreamCalls) -> None:
        self.queue.run(stream.join(group="g", uid="u", connection="c", window=9, ttl_ms=LONG_MS))

    def some(self, stream: StreamCalls) -> list[int]:
        indexes = [entry.index for entry in self.queue.run(stream.get(limit=1000)).entries]
        return self.chance.sample(indexes, min(len(indexes), 2))

    def stream(self) -> StreamCalls:
        return self.chance.choice((self.queue.source, self.queue.sink, self.queue.rear))

    def drop_ended(self) -> None:
        """Forget the leases of tasks that somebody else ended."""
        page = self.queue.run(self.queue.source.get(limit=1000))
        alive = {entry.index for entry in page.entries}
        self.leases = [task for task in self.leases if task.index in alive]

    def run_open(self, call: Call[Any]) -> None:
        """Send what an ended stream refuses."""
        try:
            self.queue.run(call)
        except StreamEndedError:
            self.seen["refused"] += 1

    def send(self, data: bytes, build: Callable[[Body], Call[Any]]) -> None:
        """The body as it is, or a claim of it."""
        if not data or self.chance.random() < 0.5:
            self.run_open(build(data))
            return
        claim = new_claim(len(data))
        try:
            self.run_open(build(claim))
        except ClaimWantedError:
            self.brought.append(claim.name)
            self.run_open(build(replace(claim, brought=True)))

    def put(self) -> None:
        self.puts += 1
        data = self.chance.randbytes(self.chance.randrange(200))
        rid = f"r{self.puts}"
        self.send(
            data,
            lambda body: self.queue.tasks.put(
                body,
                request_id=rid,
                tags={"ü": "ö"},
                max_length=9,
                max_bytes=1000,
                evict=Eviction(b"gone"),
            ),
        )

    def append(self) -> None:
        stream = self.chance.choice((self.queue.sink, self.queue.rear))
        name = f"a{self.chance.random()}"
        self.send(b"own", lambda body: stream.append(body, request_id=name, max_bytes=900, evict=True))

    def take(self) -> None:
        call = self.queue.tasks.reserve(worker="w", lease_ms=LONG_MS, sink_max_length=9, sink_evict=True)
        task = self.queue.run(call)
        if task and self.chance.random() < 0.8:
            self.queue.run(self.queue.tasks.start(task, lease_ms=LONG_MS))
        self.leases += [task] if task else []

    def end_one(self) -> None:
        if not self.leases:
            return
        task, tasks = self.leases.pop(), self.queue.tasks
        end = self.chance.choice(("done", "empty", "rear", "drop", "release"))
        if end == "release":
            self.queue.run(tasks.release(task))
        elif end in {"done", "empty"}:
            data = self.chance.randbytes(50) if end == "done" else b""
            self.send(data, lambda body: tasks.finish(task, body, tags={"lastCode": "200"}))
        else:
            keep = end == "rear"
            self.send(b"dead", lambda body: tasks.fail(task, error="e", data=body, max_delivery=1, rear=keep))

    def cancel(self) -> None:
        for entry in self.queue.run(self.queue.source.get(limit=1)).entries:
            self.queue.run(self.queue.tasks.cancel(request_id=entry.request_id, data=b"cancelled"))

    def deliver(self) -> None:
        self.run_open(self.stream().deliver(group="g", uid="u", connection="c", limit=2))

    def commit(self) -> None:
        self.queue.run(self.queue.sink.commit(self.some(self.queue.sink), group="g"))

    def reject(self) -> None:
        """Negative commits: back to the group, set aside, or (a task) dead, kept or dropped."""
        stream, rear = self.stream(), self.chance.random() < 0.5
        self.run_open(stream.deliver(group="g", uid="u", connection="c", limit=9))
        indexes = [entry.index for entry in self.queue.run(stream.get(limit=1000)).entries]
        call = stream.reject(
            indexes,
            group="g",
            uid=None,
            call_id=f"call-{next(_calls)}",
            error="e" * self.chance.randrange(50),
            max_delivery=self.chance.choice((1, 2)),
            data=b"given up",
            tags={"lastCode": "500"},
            rear=rear,
        )
        if self.queue.run(call).given_up:
            self.seen[("buried" if rear else "dropped") if stream is self.queue.source else "set aside"] += 1

    def end_stream(self) -> None:
        stream, force = self.stream(), self.chance.random() < 0.5
        before = self.queue.run(stream.count())
        end = self.queue.run(stream.end(force=force, limit=3))
        while end.next_index:
            end = self.queue.run(stream.end(force=force, start=end.next_index, limit=3))
        self.seen["forced out"] += self.queue.run(stream.count()) < before

    def reopen(self) -> None:
        for stream in (self.queue.source, self.queue.sink, self.queue.rear):
            if marker := self.queue.run(stream.attributes()).marker:
                by_truncating = self.chance.random() < 0.3
                self.queue.run(stream.truncate(marker + 1) if by_truncating else stream.delete([marker]))
                self.queue.run(stream.leave(group="g", uid="u", connection="c"))
                self.join(stream)

    def delete(self) -> None:
        stream = self.stream()
        self.queue.run(stream.delete(self.some(stream)))

    def truncate(self) -> None:
        stream = self.stream()
        self.queue.run(stream.truncate(min(self.some(stream), default=0) + 1))

    def get(self) -> None:
        stream = self.stream()
        page = self.queue.run(stream.get(limit=1, remove=True))
        if page.entries and page.entries[0].claim:
            self.queue.run(stream.get(start=page.entries[0].index, remove=True, fetched=True))

    def requeue(self) -> None:
        for index in self.some(self.queue.rear):
            self.run_open(self.queue.dead.requeue(str(index)))

    def requeue_many(self) -> None:
        self.run_open(self.queue.dead.requeue_matching(limit=2))

    def step(self) -> None:
        often: list[Callable[[], None]] = [self.put, self.take, self.end_one, self.append]
        seldom = [self.cancel, self.deliver, self.commit, self.delete, self.truncate, self.get, self.requeue]
        of_streams = [self.reject, self.reject, self.end_stream, self.reopen, self.reopen]
        self.chance.choice([*often, *often, *seldom, *of_streams, self.requeue_many])()
        self.drop_ended()


@pytest.mark.parametrize("seed", range(3))
def test_the_count_of_bytes_is_exact_on_every_path(queue: Queue, seed: int) -> None:
    storm = Storm(queue, seed)
    for _ in range(400):
        storm.step()
        check(queue)
        known = [*held(queue), *gone(queue), *announced(queue)]
        assert sorted(known) == sorted(storm.brought), "each in one place"
    assert announced(queue) == set(), "nothing was refused in the second step"
    assert len(storm.brought) > 30
    assert storm.puts > 30
    assert set(storm.seen) == {"refused", "set aside", "buried", "dropped", "forced out"}, "all was tried"
    assert all(storm.seen.values())
    for stream in (queue.source, queue.sink, queue.rear):
        queue.run(stream.truncate(10**9))
        assert queue.run(stream.attributes()).bytes == 0
    assert gone(queue) == set(storm.brought)


def test_expired_leases_and_forgotten_groups_keep_it_exact(queue: Queue, bench: Bench, clock: Clock) -> None:
    bench.put()
    bench.begin()
    clock.advance(11)
    queue.run(queue.tasks.reap(reaper="r", max_delivery=3))
    check(queue)

    def join(group: str) -> None:
        queue.run(queue.sink.join(group=group, uid="u", connection="c", window=5, ttl_ms=1000))

    join("g1")
    join("g2")
    queue.run(queue.sink.append(b"result", request_id="s1"))
    queue.run(queue.sink.commit([1], group="g1"))
    assert queue.run(queue.sink.attributes()).bytes > 0
    for hours in (1, 2, 24):  # silent, then forgotten, then its group dropped
        clock.advance(hours * 3600)
        join("g1")
        queue.run(queue.sink.sweep())
    assert queue.run(queue.sink.count()) == 0, "only the forgotten group had not yet committed it"
    check(queue)
