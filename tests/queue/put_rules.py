"""What every rule of the machine stands on: the queue, its model, and puts in all their ways."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from easel_queue import Once, Origin, Placed, Queue, StreamEndedError, Task

from .conftest import Clock
from .model import Job, Model

WINDOW = 2
TASK_WATCHER = {"group": "outside", "uid": "o", "connection": "o"}
numbers = itertools.count()


class PutRules(RuleBasedStateMachine):
    """One service, two watchers of the sink in one group, one of the input."""

    url = ""

    @initialize(max_working=st.sampled_from([0, 0, 1, 2]))
    def begin(self, max_working: int) -> None:
        self.clock = Clock()
        self.queue = Queue(self.url, service=f"model{next(numbers)}", clock=self.clock)
        self.model = Model(max_working=max_working)
        self.leases: list[Task] = []
        self.rids: list[str] = []
        self.last_index = 0
        self.marker = 0
        self.once: dict[str, Placed] = {}
        self.joined: dict[str, str] = {}
        self.leaving: set[str] = set()
        for uid in ("a", "b"):
            self.join(uid)
        self.queue.run(self.queue.source.join(**TASK_WATCHER, window=1000, ttl_ms=10**9))

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            self.queue.close()

    def join(self, uid: str) -> None:
        self.joined[uid] = f"{uid}-{next(numbers)}"
        call = self.queue.sink.join(
            group="g", uid=uid, connection=self.joined[uid], window=WINDOW, ttl_ms=10**9
        )
        self.queue.run(call)
        self.leaving.discard(uid)

    def sink_rids(self) -> dict[int, str]:
        return {
            entry.index: entry.request_id for entry in self.queue.run(self.queue.sink.get(limit=1000)).entries
        }

    @rule(priority=st.integers(-2, 2), user=st.sampled_from(["", "", "ann", "bob"]))
    def put(self, priority: int, user: str) -> None:
        self.rids.append(f"r{len(self.rids) + 1}")
        self.put_one(self.rids[-1], priority, user)

    @rule(count=st.integers(2, 4))
    def everybody_puts(self, count: int) -> None:
        for _ in range(count):
            for user in ("ann", "bob"):
                self.put(0, user)

    @rule(pick=st.integers(0, 99))
    def put_again(self, pick: int) -> None:
        """What is known, waiting or ended, answers its index; what was deleted is a new task."""
        if self.rids:
            self.put_one(self.rids[pick % len(self.rids)], 0, "")

    def put_one(self, rid: str, priority: int, user: str) -> None:
        job = self.model.jobs.get(rid)
        known = job.index if job else self.model.ended.get(rid)
        call = self.queue.tasks.put(b"x", request_id=rid, priority=priority, origin=Origin(user))
        if known is not None:
            assert self.queue.run(call).index == known
        elif self.marker:
            with pytest.raises(StreamEndedError):
                self.queue.run(call)
        else:
            placed = self.queue.run(call)
            self.stored(rid, placed, priority, user)

    def stored(self, rid: str, placed: Placed, priority: int, user: str) -> None:
        self.last_index += 1
        assert (placed.index, placed.request_id, placed.repeated) == (self.last_index, rid, False)
        self.model.jobs[rid] = Job(rid, placed.index, priority, user)

    @rule(key=st.sampled_from("xy"))
    def put_under_a_key(self, key: str) -> None:
        """The first put of a key is stored; every later one answers the first, whatever became of it."""
        self.rids.append(f"r{len(self.rids) + 1}")
        rid = self.rids[-1]
        call = self.queue.tasks.put(b"x", request_id=rid, once=Once("", key, "print"))
        if key in self.once:
            again = self.queue.run(call)
            first = self.once[key]
            assert (again.index, again.request_id, again.repeated) == (first.index, first.request_id, True)
        elif self.marker:
            with pytest.raises(StreamEndedError):
                self.queue.run(call)
        else:
            self.once[key] = self.queue.run(call)
            self.stored(rid, self.once[key], 0, "")

    @rule()
    def end_or_open_the_stream(self) -> None:
        """An ended input takes no new tasks; those it has go on. Removing the marker opens it again."""
        if self.marker:
            assert self.queue.run(self.queue.source.delete([self.marker])) == 1
            self.marker = 0
        else:
            self.last_index += 1
            self.marker = self.queue.run(self.queue.source.end()).marker
            assert self.marker == self.last_index

    @rule(pick=st.integers(0, 99))
    def requeue_a_dead_letter(self, pick: int) -> None:
        """It is the same task again, at its old place, and every delivery is ahead of it."""
        if not self.model.dead:
            return
        rid = sorted(self.model.dead)[pick % len(self.model.dead)]
        call = self.queue.dead.requeue(rid, max_length=0, max_bytes=0)
        if self.marker:
            with pytest.raises(StreamEndedError):
                self.queue.run(call)
            return
        placed = self.queue.run(call)
        job = self.model.revive(rid)
        assert placed is not None
        assert (placed.index, placed.request_id) == (job.index, rid)
