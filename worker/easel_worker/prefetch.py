"""The prefetch stage: the next task is reserved, decoded and checked while the torch thread is busy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from easel_claims import Claims
from easel_queue import LeaseLostError, Task
from easel_worker.duty import Duty
from easel_worker.failure import failure_of
from easel_worker.handlers.registry import Registry
from easel_worker.handoff import Handoff
from easel_worker.job import Job
from easel_worker.lease import LeaseKeeper
from easel_worker.publish import Publisher, Work
from easel_worker.settings import WorkerSettings
from easel_worker.steady import SteadyQueue

log = logging.getLogger(__name__)

BELL_S = 0.5
"""How long one wait for work lasts: also the longest that draining an idle worker takes."""


class Prefetcher(Duty):
    """Reserves tasks as long as the hand-over has room. `stop` gives back what nobody began."""

    name = "prefetch"

    def __init__(
        self,
        queue: SteadyQueue,
        registry: Registry,
        claims: Claims,
        leases: LeaseKeeper,
        handoff: Handoff,
        publisher: Publisher,
        settings: WorkerSettings,
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._registry = registry
        self._claims = claims
        self._leases = leases
        self._handoff = handoff
        self._publisher = publisher
        self._settings = settings

    def body(self) -> None:
        found = True
        while not self.stopping.is_set():
            if not self._handoff.wait_room(BELL_S):
                continue
            # A worker that would start the task at once saves the step, and Redis's sync, of saying so.
            begin = self._handoff.idle()
            reserve = self._queue.tasks.reserve_batch(
                worker=self._settings.worker_id,
                lease_ms=self._settings.lease_ms,
                limit=self._settings.batch_tasks,
                sink_max_length=self._settings.sink_max_length,
                sink_max_bytes=self._settings.sink_max_bytes,
                sink_evict=self._settings.queue_sink_auto_evict,
                user_max_working=self._settings.user_max_working,
                models=self._registry.at_hand(),
                bypass=self._settings.affinity_bypass,
                begin=begin,
            )
            if found:
                tasks = self._queue.attempt(reserve)
            else:
                tasks = self._queue.attempt_at_bell(reserve, BELL_S, self.stopping)
            found = bool(tasks)
            if tasks:
                self._take(tasks, begun=begin)
        for job in self._handoff.close_intake():
            self.give_back(job)

    def _take(self, tasks: Sequence[Task], *, begun: bool) -> None:
        jobs = [Job(task) for task in tasks]
        for job in jobs:
            job.started = begun
            self._leases.hold(job)
            log.debug("task %s: reserved", job.request_id)
        ready = tuple(job for job in jobs if self._prepare(job))
        for job in ready:
            job.join(ready)
        if ready and (self.stopping.is_set() or not self._handoff.put(ready[0])):
            self.give_back(ready[0])

    def _prepare(self, job: Job) -> bool:
        """False for a task that failed here."""
        try:
            task = job.task = self._claims.whole(job.task)
            job.handler = self._registry.find(task)
            job.prepared = job.handler.prepare(task)
            job.id_task = job.handler.id_task(job.prepared)
        except Exception as error:  # noqa: BLE001 - a poisoned task must fail alone, whatever it breaks
            self._publisher.submit(Work(job, failure=failure_of(error)))
            return False
        return True

    def give_back(self, first: Job) -> None:
        """Return a task that was not started, and its company: not a delivery, and the next worker takes it
        at once."""
        for job in first.company:
            self._give_back(job)

    def _give_back(self, job: Job) -> None:
        self._leases.drop(job)
        try:
            # One attempt: with Redis away the lease lapses by itself, and a drain must not hang on it.
            self._queue.attempt(self._queue.tasks.release(job.task))
        except LeaseLostError:
            return  # it ended meanwhile
        log.info("task %s: given back", job.request_id)
