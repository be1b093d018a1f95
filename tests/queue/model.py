"""What the queue promises, as plain Python: a hundred lines that hold no Redis and no Lua.

What is not here cannot be promised. `machine` drives the real scripts beside it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from easel_queue import State, Task

MAX_DELIVERY = 2


@dataclass
class Job:
    """A task as the model sees it. `holder` is the token of whoever may speak for it."""

    rid: str
    index: int
    priority: int
    user: str
    state: State = State.WAITING
    deliveries: int = 0
    holder: int = 0
    until: int = 0
    cancelling: bool = False

    @property
    def order(self) -> tuple[int, int]:
        return -self.priority, self.index


@dataclass
class Model:
    """What must be true of the input queue, the sink and the rear."""

    jobs: dict[str, Job] = field(default_factory=dict)
    results: dict[int, str] = field(default_factory=dict)
    dead: dict[str, Job] = field(default_factory=dict)
    undelivered: set[int] = field(default_factory=set)
    pending: dict[int, str] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    aside: set[int] = field(default_factory=set)
    offered: set[int] = field(default_factory=set)
    """Indexes of tasks that the watcher of the input has."""
    ended: dict[str, int] = field(default_factory=dict)
    max_working: int = 0
    """Tasks of one user that may be in work; 0 is no limit."""
    turns: dict[tuple[int, frozenset[str]], Counter[str]] = field(default_factory=dict)
    """How often each of two users was served at a priority, since both wait there."""
    _next_result: int = 1

    def end(self, job: Job) -> None:
        """Exactly one result, and the task is gone."""
        del self.jobs[job.rid]
        self.ended[job.rid] = job.index
        self.results[self._next_result] = job.rid
        self.undelivered.add(self._next_result)
        self._next_result += 1

    def bury(self, job: Job) -> None:
        """Given up: a result that says so, and a dead letter."""
        self.dead[job.rid] = job
        self.end(job)

    def revive(self, rid: str) -> Job:
        """A dead letter is a task again, of which nothing was delivered, and new to the input's watchers."""
        job = self.dead.pop(rid)
        job.state, job.deliveries, job.holder, job.cancelling = State.WAITING, 0, 0, False
        self.jobs[rid] = job
        self.offered.discard(job.index)
        return job

    def forget(self, index: int) -> None:
        """A result is gone from the sink."""
        del self.results[index]
        self.undelivered.discard(index)
        self.aside.discard(index)
        self.pending.pop(index, None)
        self.failures.pop(index, None)

    def result_failed(self, index: int, *, counts: bool) -> bool:
        """A watcher gives a result back. True if its group gives up on it."""
        del self.pending[index]
        self.failures[index] = self.failures.get(index, 0) + counts
        given_up = counts and self.failures[index] >= MAX_DELIVERY
        (self.aside if given_up else self.undelivered).add(index)
        return given_up

    def task_failed(self, job: Job) -> bool:
        """A watcher gives a task back. True if it is given up. While a worker runs it, the worker decides."""
        self.offered.discard(job.index)
        if job.state is State.RUNNING:
            return False
        job.deliveries += 1
        if job.deliveries < MAX_DELIVERY:
            return False
        self.bury(job)
        return True

    def retreat(self, job: Job) -> None:
        """A delivery that brought no result."""
        if job.cancelling:
            self.end(job)
        else:
            job.state, job.holder = State.WAITING, 0

    def held(self, task: Task) -> Job | None:
        """The job, if this lease is its newest."""
        job = self.jobs.get(task.request_id)
        return job if job is not None and job.holder == task.token else None

    def lanes(self) -> dict[tuple[int, str], Job]:
        """The oldest waiting task of every user who may have one more in work, by priority and user."""
        working = Counter(job.user for job in self.jobs.values() if job.state is not State.WAITING)
        lanes: dict[tuple[int, str], Job] = {}
        for job in self.waiting():
            if not self.max_working or working[job.user] < self.max_working:
                lanes.setdefault((job.priority, job.user), job)
        return lanes

    def next(self) -> list[Job]:
        """Those of the highest priority. Which of them is next is a matter of turns."""
        lanes = self.lanes()
        top = max((priority for priority, _ in lanes), default=0)
        return [job for (priority, _), job in lanes.items() if priority == top]

    def served(self, job: Job) -> None:
        """While two users wait at a priority, neither gets more than two tasks ahead of the other."""
        for (priority, pair), turns in self.turns.items():
            if priority == job.priority and job.user in pair:
                turns[job.user] += 1
                one, other = pair
                assert abs(turns[one] - turns[other]) <= 2, (sorted(pair), turns)

    def note_who_waits(self) -> None:
        lanes = self.lanes()
        both = {
            (priority, frozenset({user, other}))
            for priority, user in lanes
            for level, other in lanes
            if level == priority and user < other
        }
        self.turns = {pair: self.turns.get(pair, Counter()) for pair in both}

    def waiting(self) -> list[Job]:
        return sorted(
            (job for job in self.jobs.values() if job.state is State.WAITING), key=lambda job: job.order
        )
