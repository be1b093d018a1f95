"""The publish stage: encode, store, and tell the queue how the task ended."""

from __future__ import annotations

import logging
import queue
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from easel_claims import Claims
from easel_contract import results
from easel_contract.results import Outcome
from easel_queue import LeaseLostError, State, TaskCancelledError
from easel_worker.duty import Duty
from easel_worker.failure import Failure, failure_of
from easel_worker.job import Job, JobStoppedError, StopReason
from easel_worker.lease import LeaseKeeper
from easel_worker.progress import ProgressReporter
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats
from easel_worker.steady import GaveUpError, SteadyQueue

log = logging.getLogger(__name__)

DEPTH = 2
"""Finished jobs that may wait here. When storage is slower than the GPU the torch thread waits too,
rather than filling the memory with pictures."""


@dataclass(frozen=True)
class Work:
    """A job that left the torch thread (or failed before it): its output, or why there is none."""

    job: Job
    output: Any = None
    failure: Failure | None = None


class Publisher(Duty):
    """Writes one result per job. `close` ends it after what was submitted."""

    name = "publish"

    def __init__(
        self,
        queue_: SteadyQueue,
        claims: Claims,
        leases: LeaseKeeper,
        reporter: ProgressReporter,
        stats: Stats,
        settings: WorkerSettings,
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__(on_crash)
        self._queue = queue_
        self._claims = claims
        self._leases = leases
        self._reporter = reporter
        self._stats = stats
        self._settings = settings
        self._works: queue.Queue[Work | None] = queue.Queue(DEPTH)

    def submit(self, work: Work) -> None:
        """Hand a job over; blocks while `DEPTH` jobs wait."""
        self._works.put(work)

    def close(self) -> None:
        """End after everything submitted so far."""
        self._works.put(None)

    def body(self) -> None:
        while (work := self._works.get()) is not None:
            self._publish(work)

    def _publish(self, work: Work) -> None:
        try:
            self._write(work)
        except (LeaseLostError, TaskCancelledError) as error:
            log.warning("task %s: its result is dropped: %s", work.job.request_id, error)
            self._end(work.job, "lost")
        except GaveUpError:
            log.error("task %s: Redis stayed away; it will run again", work.job.request_id)
            self._end(work.job, "lost")

    def _write(self, work: Work) -> None:
        job, failure = work.job, work.failure
        if job.stop_reason is StopReason.LEASE_LOST:
            self._reporter.flush(job, send=False)
            self._end(job, "lost")
            return
        outcome = None
        if failure is None:
            outcome, failure = self._encode(work)
        self._reporter.flush(job)
        job.writing = True
        if outcome is not None:
            self._finish(job, outcome, State.DONE)
            self._end(job, "done" if outcome.code == 200 else "refused")
        elif failure is not None:
            self._end(job, self._fail(job, failure))

    def _encode(self, work: Work) -> tuple[Outcome | None, Failure | None]:
        handler = work.job.handler
        if handler is None:
            raise AssertionError("a job has an output only if it had a handler")
        try:
            return handler.publish(work.job.task, work.output), None
        except Exception as error:
            log.warning("task %s: cannot publish", work.job.request_id, exc_info=True)
            return None, failure_of(error)

    def _fail(self, job: Job, failure: Failure) -> str:
        """Tell the queue that there is no output; returns the outcome's name for the counters."""
        tasks = self._queue.tasks
        if not job.started and failure.stop is None:
            # Found in the prefetch stage. It is a delivery like any other: the work began and failed.
            self._queue.run(tasks.start(job.task, lease_ms=self._settings.lease_ms))
            job.started = True
        cancelled = job.stop_reason is StopReason.CANCELLED and (failure.retry or failure.stop is not None)
        if failure.stop is StopReason.SHUTDOWN and not cancelled:
            self._queue.run(tasks.release(job.task))
            log.warning("task %s: given back unfinished", job.request_id)
            return "lost"
        if cancelled:
            failure = failure_of(JobStoppedError(StopReason.CANCELLED))
        failure = failure.within(self._settings.data_dir)
        result = _error_result(failure, job.id_task)
        if cancelled:
            self._finish(job, result, State.CANCELLED)
            return "cancelled"
        if not failure.retry:
            log.info("task %s: refused (%d): %s", job.request_id, failure.code, failure.message)
            self._finish(job, result, State.DONE)
            return "refused"
        failed = self._claims.run(
            result.data,
            lambda body: tasks.fail(
                job.task,
                error=failure.message,
                data=body,
                tags=result.tags,
                max_delivery=self._settings.max_delivery,
                rear=self._settings.dead_message_policy == "Rear",
            ),
        )
        fate = "given up" if failed.dead else "will be tried again"
        log.warning(
            "task %s: failed at delivery %d, %s: %s", job.request_id, failed.deliveries, fate, failure.message
        )
        return "dead" if failed.dead else "retried"

    def _finish(self, job: Job, outcome: Outcome, state: State) -> None:
        self._claims.run(
            outcome.data,
            lambda body: self._queue.tasks.finish(job.task, body, tags=outcome.tags, state=state),
        )

    def _end(self, job: Job, outcome: str) -> None:
        self._leases.drop(job)
        self._stats.count(outcome)


def _error_result(failure: Failure, id_task: str | None) -> Outcome:
    """The result of a task that failed, in the shape of both dialects."""
    echo = None if id_task is None else id_task.encode("utf-8", "backslashreplace").decode()
    return results.error_result(
        code=failure.code,
        kind=failure.error,
        message=failure.message,
        id_task=echo,
        hostname=socket.gethostname(),
    )
