"""Watchers in the machine: two of the sink, and one of the input beside the workers."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from easel_queue import Rejected, StreamCalls, StreamEndedError

from .model import MAX_DELIVERY
from .put_rules import TASK_WATCHER, WINDOW, numbers
from .task_rules import TaskRules


class WatchRules(TaskRules):
    """They take, commit, fail, leave and come back."""

    @rule()
    def offer_tasks(self) -> None:
        """A watcher of the input gets every stored task that it does not have, whatever the workers do."""
        call = self.queue.source.deliver(**TASK_WATCHER, limit=1000)
        stored = sorted(self.model.jobs.values(), key=lambda job: job.order)
        try:
            got = [entry.index for entry in self.queue.run(call)]
        except StreamEndedError:
            assert self.marker
            assert not stored, "a watcher is finished when everything was consumed"
            return
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
            call_id=f"call{next(numbers)}",
            error="e",
            exits=exits,
            max_delivery=MAX_DELIVERY,
            data=b"dead",
        )
        return self.queue.run(call)

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

    @rule()
    def a_watcher_fails_with_what_another_has(self) -> None:
        self.deliver("a", 5)
        for index in self.had_by("a"):
            self.reject_one_result(index, "b")

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
