"""The real scripts beside the model, driven by random transitions in any order, with time injected.

Hypothesis looks for a sequence of calls after which Redis and the model differ, and shrinks it.
"""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from easel_queue import (
    CancelOutcome,
    LeaseLostError,
    Origin,
    Queue,
    Rejected,
    State,
    StreamCalls,
    Task,
    TaskCancelledError,
)

from .conftest import Clock
from .model import MAX_DELIVERY, Job, Model

LEASE_MS = 10_000
WINDOW = 2
TASK_WATCHER = {"group": "outside", "uid": "o", "connection": "o"}
_numbers = itertools.count()


class QueueAgainstModel(RuleBasedStateMachine):
    """One service, two workers' worth of leases, two watchers of the sink in one group, one of the input."""

    url = ""

    @initialize(max_working=st.sampled_from([0, 0, 1, 2]))
    def begin(self, max_working: int) -> None:
        self.clock = Clock()
        self.queue = Queue(self.url, service=f"model{next(_numbers)}", clock=self.clock)
        self.model = Model(max_working=max_working)
        self.leases: list[Task] = []
        self.rids: list[str] = []
        self.last_index = 0
        self.joined: dict[str, str] = {}
        self.leaving: set[str] = set()
        for uid in ("a", "b"):
            self.join(uid)
        self.queue.run(self.queue.source.join(**TASK_WATCHER, window=1000, ttl_ms=10**9))

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            self.queue.close()

    def join(self, uid: str) -> None:
        self.joined[uid] = f"{uid}-{next(_numbers)}"
        call = self.queue.sink.join(
            group="g", uid=uid, connection=self.joined[uid], window=WINDOW, ttl_ms=10**9
        )
        self.queue.run(call)
        self.leaving.discard(uid)

    def lease(self, pick: int) -> Task | None:
        """Mostly a lease that counts, sometimes one that does not any more."""
        counting = [task for task in self.leases if self.model.held(task)]
        known = self.leases if pick % 5 == 0 or not counting else counting
        return known[pick // 5 % len(known)] if known else None

    # -- tasks -------------------------------------------------------------------------------------------

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
        placed = self.queue.run(call)
        if known is None:
            self.last_index += 1
            known = self.last_index
            self.model.jobs[rid] = Job(rid, known, priority, user)
        assert placed.index == known

    @rule()
    def reserve(self) -> None:
        call = self.queue.tasks.reserve(
            worker="w", lease_ms=LEASE_MS, user_max_working=self.model.max_working
        )
        task = self.queue.run(call)
        expected = {job.rid: job for job in self.model.next()}
        assert (task.request_id in expected) if task else not expected
        if task:
            job = expected[task.request_id]
            self.model.served(job)
            assert task.deliveries == job.deliveries
            assert all(task.token > other.token for other in self.leases), "tokens only grow"
            job.state, job.holder, job.until = State.RESERVED, task.token, self.clock.now + LEASE_MS
            self.leases.append(task)

    @rule(pick=st.integers(0, 99))
    def start(self, pick: int) -> None:
        if task := self.lease(pick):
            job = self.model.held(task)
            if job is None:
                with pytest.raises((LeaseLostError, TaskCancelledError)):
                    self.queue.run(self.queue.tasks.start(task, lease_ms=LEASE_MS))
                return
            job.deliveries += job.state is State.RESERVED
            job.state, job.until = State.RUNNING, self.clock.now + LEASE_MS
            assert self.queue.run(self.queue.tasks.start(task, lease_ms=LEASE_MS)) == job.deliveries
            assert job.deliveries <= MAX_DELIVERY, "delivered more often than allowed"

    @rule()
    def begin_next(self) -> None:
        """What a worker does most: take the next task and start it."""
        before = len(self.leases)
        self.reserve()
        if len(self.leases) > before:
            task = self.leases[-1]
            job = self.model.jobs[task.request_id]
            job.deliveries += 1
            job.state, job.until = State.RUNNING, self.clock.now + LEASE_MS
            assert self.queue.run(self.queue.tasks.start(task, lease_ms=LEASE_MS)) == job.deliveries

    @rule(count=st.integers(1, 3))
    def work(self, count: int) -> None:
        """The ordinary way: put, take, start, finish."""
        for _ in range(count):
            self.put(0, "")
            self.begin_next()
            task = self.leases[-1] if self.leases else None
            if task and (job := self.model.held(task)):
                self.queue.run(self.queue.tasks.finish(task, b"result"))
                self.model.end(job)

    @rule()
    def every_worker_dies(self) -> None:
        """Also the one that has just begun."""
        self.begin_next()
        self.time_passes(11)
        self.reap()

    @rule(pick=st.integers(0, 99))
    def extend(self, pick: int) -> None:
        if task := self.lease(pick):
            job = self.model.held(task)
            if job is None:
                with pytest.raises(LeaseLostError):
                    self.queue.run(self.queue.tasks.extend(task, lease_ms=LEASE_MS))
            else:
                job.until = self.clock.now + LEASE_MS
                renewal = self.queue.run(self.queue.tasks.extend(task, lease_ms=LEASE_MS))
                assert renewal.cancelled == job.cancelling

    @rule(pick=st.integers(0, 99))
    def finish(self, pick: int) -> None:
        if task := self.lease(pick):
            job = self.model.held(task)
            call = self.queue.tasks.finish(task, b"result")
            if job is not None:
                self.queue.run(call)
                self.model.end(job)
            else:
                before = self.sink_rids()
                with contextlib.suppress(LeaseLostError):
                    self.queue.run(call)  # a repetition of its own finish is welcome
                assert self.sink_rids() == before, "but adds nothing"

    @rule(pick=st.integers(0, 99))
    def fail(self, pick: int) -> None:
        if task := self.lease(pick):
            job = self.model.held(task)
            call = self.queue.tasks.fail(task, error="e", data=b"dead", max_delivery=MAX_DELIVERY)
            if job is None:
                with contextlib.suppress(LeaseLostError):
                    self.queue.run(call)
            elif job.deliveries < MAX_DELIVERY or job.cancelling:
                self.model.retreat(job)
                self.queue.run(call)
            else:
                assert self.queue.run(call).dead
                self.model.bury(job)

    @rule(pick=st.integers(0, 99))
    def release(self, pick: int) -> None:
        if task := self.lease(pick):
            job = self.model.held(task)
            if job is None:
                with pytest.raises(LeaseLostError):
                    self.queue.run(self.queue.tasks.release(task))
            else:
                job.deliveries -= job.state is State.RUNNING
                self.model.retreat(job)
                self.queue.run(self.queue.tasks.release(task))

    @rule(pick=st.integers(0, 99))
    def cancel(self, pick: int) -> None:
        if self.rids:
            rid = self.rids[pick % len(self.rids)]
            outcome = self.queue.run(self.queue.tasks.cancel(request_id=rid, data=b"cancelled"))
            job = self.model.jobs.get(rid)
            if job is None:
                assert outcome is CancelOutcome.UNKNOWN
            elif job.state is State.RUNNING:
                assert outcome is CancelOutcome.STOPPING
                job.cancelling = True
            else:
                assert outcome is CancelOutcome.CANCELLED
                self.model.end(job)

    @rule(seconds=st.sampled_from([1, 6, 11]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def reap(self) -> None:
        reaped = self.queue.run(
            self.queue.tasks.reap(reaper="r", max_delivery=MAX_DELIVERY, lease_ms=LEASE_MS)
        )
        expired = [job for job in self.model.jobs.values() if job.holder and job.until <= self.clock.now]
        exhausted = {
            job.rid
            for job in expired
            if job.state is State.RUNNING and job.deliveries >= MAX_DELIVERY and not job.cancelling
        }
        assert {task.request_id for task in reaped.exhausted} == exhausted
        for task in reaped.exhausted:
            job = self.model.jobs[task.request_id]
            job.holder, job.until = task.token, self.clock.now + LEASE_MS
            self.leases.append(task)
        # Those that end here do so in the order in which their leases ran out.
        for job in sorted(expired, key=lambda job: (job.until, str(job.index))):
            if job.rid not in exhausted:
                self.model.retreat(job)

    @rule(pick=st.integers(0, 99))
    def delete(self, pick: int) -> None:
        if self.rids:
            rid = self.rids[pick % len(self.rids)]
            job = self.model.jobs.pop(rid, None)
            index = job.index if job else 10**6
            assert self.queue.run(self.queue.source.delete([index])) == (job is not None)

    @rule()
    def offer_tasks(self) -> None:
        """A watcher of the input gets every stored task that it does not have, whatever the workers do."""
        call = self.queue.source.deliver(**TASK_WATCHER, limit=1000)
        got = [entry.index for entry in self.queue.run(call)]
        stored = sorted(self.model.jobs.values(), key=lambda job: job.order)
        assert got == [job.index for job in stored if job.index not in self.model.offered]
        self.model.offered |= set(got)

    @rule(pick=st.integers(0, 99))
    def reject_task(self, pick: int) -> None:
        if self.rids:
            self.reject_one_task(self.rids[pick % len(self.rids)])

    @rule(running=st.booleans())
    def a_watcher_fails_with_a_task(self, running: bool) -> None:
        if running:
            self.begin_next()
        self.offer_tasks()
        started = [task.request_id for task in self.leases[-1:]]
        for rid in started if running else list(self.model.jobs)[:1]:
            self.reject_one_task(rid)

    def reject_one_task(self, rid: str) -> None:
        job = self.model.jobs.get(rid)
        known = job is not None and job.index in self.model.offered
        rejected = self.reject(self.queue.source, [job.index if job else 10**6], TASK_WATCHER)
        given_up = job is not None and known and self.model.task_failed(job)
        assert rejected == Rejected(returned=int(known and not given_up), given_up=int(given_up))

    def reject(
        self, stream: StreamCalls, indexes: list[int], who: dict[str, str], *, exits: bool = False
    ) -> Rejected:
        call = stream.reject(
            indexes,
            group=who["group"],
            uid=who["uid"],
            call_id=f"call{next(_numbers)}",
            error="e",
            exits=exits,
            max_delivery=MAX_DELIVERY,
            data=b"dead",
        )
        return self.queue.run(call)

    # -- the sink ----------------------------------------------------------------------------------------

    def sink_rids(self) -> dict[int, str]:
        return {
            entry.index: entry.request_id for entry in self.queue.run(self.queue.sink.get(limit=1000)).entries
        }

    @rule(uid=st.sampled_from("ab"), limit=st.sampled_from([1, 5]))
    def deliver(self, uid: str, limit: int) -> None:
        call = self.queue.sink.deliver(group="g", uid=uid, connection=self.joined[uid], limit=limit)
        got = [entry.index for entry in self.queue.run(call)]
        room = WINDOW - sum(owner == uid for owner in self.model.pending.values())
        if uid in self.leaving:
            room = 0
        expected = sorted(self.model.undelivered)[: min(room, limit)]
        assert got == expected
        for index in got:
            self.model.undelivered.remove(index)
            self.model.pending[index] = uid

    @rule(pick=st.integers(0, 99))
    def commit(self, pick: int) -> None:
        known = sorted(self.model.results)
        if known:
            index = known[pick % len(known)]
            assert self.queue.run(self.queue.sink.commit([index], group="g")) == 1
            self.model.forget(index)
        assert self.queue.run(self.queue.sink.commit([10**6], group="g")) == 0

    @rule(pick=st.integers(0, 99), uid=st.sampled_from("ab"), exits=st.sampled_from([False, False, True]))
    def reject_result(self, pick: int, uid: str, exits: bool) -> None:
        """Mostly what the watcher has; sometimes what somebody else has, or nobody."""
        known = sorted(self.model.results) if pick % 3 == 0 else self.had_by(uid)
        if known:
            self.reject_one_result(known[pick // 3 % len(known)], uid, exits=exits)

    @rule(uid=st.sampled_from("ab"), exits=st.booleans())
    def a_watcher_fails_with_all(self, uid: str, exits: bool) -> None:
        self.deliver(uid, 5)
        for index in self.had_by(uid):
            self.reject_one_result(index, uid, exits=exits)
        self.deliver(uid, 5)

    def had_by(self, uid: str) -> list[int]:
        return sorted(index for index, owner in self.model.pending.items() if owner == uid)

    def reject_one_result(self, index: int, uid: str, *, exits: bool = False) -> None:
        mine = index in self.had_by(uid)
        rejected = self.reject(self.queue.sink, [index], {"group": "g", "uid": uid}, exits=exits)
        if not mine:
            assert rejected == Rejected(0, 0)
            return
        given_up = self.model.result_failed(index, counts=not exits)
        assert rejected == Rejected(returned=int(not given_up), given_up=int(given_up))
        if exits:
            self.leaving.add(uid)

    @rule(uid=st.sampled_from("ab"))
    def leave_and_come_back(self, uid: str) -> None:
        mine = {index for index, owner in self.model.pending.items() if owner == uid}
        call = self.queue.sink.leave(group="g", uid=uid, connection=self.joined[uid])
        assert self.queue.run(call) == len(mine)
        for index in mine:
            del self.model.pending[index]
        self.model.undelivered |= mine
        self.join(uid)

    @rule(pick=st.integers(0, 99))
    def truncate(self, pick: int) -> None:
        known = sorted(self.model.results)
        if known:
            before = known[pick % len(known)]
            gone = [index for index in known if index < before]
            assert self.queue.run(self.queue.sink.truncate(before)) == len(gone)
            for index in gone:
                self.model.forget(index)

    # -- always ------------------------------------------------------------------------------------------

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "model"):
            return
        self.model.note_who_waits()
        model, queue = self.model, self.queue
        source = queue.run(queue.source.attributes())
        waiting = model.waiting()
        assert (source.length, source.waiting) == (len(model.jobs), len(waiting))
        assert source.leased == sum(job.holder > 0 for job in model.jobs.values())
        for position, job in enumerate(waiting):
            status = queue.run(queue.tasks.status(job.rid))
            assert status is not None
            assert (status.state, status.ahead, status.deliveries) == (
                State.WAITING,
                position,
                job.deliveries,
            )
        assert self.sink_rids() == model.results
        dead = [entry.request_id for entry in queue.run(queue.rear.get(limit=1000)).entries]
        assert sorted(dead) == sorted(model.dead)
        (group,) = queue.run(queue.sink.attributes()).groups
        assert (group.todo, group.pending, group.aside) == (
            len(model.undelivered),
            len(model.pending),
            len(model.aside),
        )
        offered = sum(job.index in model.offered for job in model.jobs.values())
        (group,) = source.groups
        assert (group.todo, group.pending) == (len(model.jobs) - offered, offered)


def drive(url: str, examples: int, steps: int, *, shrink: bool = True) -> None:
    machine = type("Machine", (QueueAgainstModel,), {"url": url})
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=not shrink,  # whether a known mistake is found must not be a matter of luck
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=how)
