"""The life of a task in the machine: what workers, clients and the reaper do with it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from easel_queue import CancelOutcome, LeaseLostError, State, Task, TaskCancelledError

from .model import MAX_DELIVERY
from .put_rules import PutRules

LEASE_MS = 10_000


class TaskRules(PutRules):
    """Any number of workers, of which some act on leases that they have lost."""

    def lease(self, pick: int) -> Task | None:
        """Mostly a lease that counts, sometimes one that does not any more."""
        counting = [task for task in self.leases if self.model.held(task)]
        known = self.leases if pick % 5 == 0 or not counting else counting
        return known[pick // 5 % len(known)] if known else None

    @rule(begin=st.booleans())
    def reserve(self, begin: bool = False) -> None:
        call = self.queue.tasks.reserve(
            worker="w", lease_ms=LEASE_MS, user_max_working=self.model.max_working, begin=begin
        )
        task = self.queue.run(call)
        expected = {job.rid: job for job in self.model.next()}
        assert (task.request_id in expected) if task else not expected
        if task:
            job = expected[task.request_id]
            self.model.served(job)
            job.deliveries += begin
            assert task.deliveries == job.deliveries <= MAX_DELIVERY
            assert all(task.token > other.token for other in self.leases), "tokens only grow"
            job.state = State.RUNNING if begin else State.RESERVED
            job.holder, job.until = task.token, self.clock.now + LEASE_MS
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
