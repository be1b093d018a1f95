"""The one thread that touches torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from easel_queue import LeaseLostError, TaskCancelledError
from easel_worker.duty import Duty
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.handlers.registry import Registry
from easel_worker.handoff import Handoff
from easel_worker.job import Job
from easel_worker.lease import LeaseKeeper
from easel_worker.previews import PreviewSender
from easel_worker.progress import ProgressReporter
from easel_worker.publish import Publisher, Work
from easel_worker.stats import Stats
from easel_worker.steady import GaveUpError, SteadyQueue

log = logging.getLogger(__name__)


class TorchThread(Duty):
    """Starts a prepared job (this counts its delivery), runs its handler, hands the output to publish.

    Ends when the hand-over is closed and empty. `ready` is called once every handler is set up.
    """

    name = "torch"

    def __init__(
        self,
        queue: SteadyQueue,
        registry: Registry,
        leases: LeaseKeeper,
        handoff: Handoff,
        publisher: Publisher,
        reporter: ProgressReporter,
        previews: PreviewSender,
        stats: Stats,
        lease_ms: int,
        on_ready: Callable[[], None],
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._registry = registry
        self._leases = leases
        self._handoff = handoff
        self._publisher = publisher
        self._reporter = reporter
        self._previews = previews
        self._stats = stats
        self._lease_ms = lease_ms
        self._on_ready = on_ready

    def body(self) -> None:
        if not self._set_up():
            return
        while (job := self._handoff.take()) is not None:
            if isinstance(job, str):
                self._obey(job)
            else:
                self._work([one for one in job.company if self._start(one)])

    def _set_up(self) -> bool:
        try:
            for handler in self._registry:
                handler.setup()
        except Exception as error:
            log.error("the worker cannot start: %s: %s", type(error).__name__, error)
            log.debug("the reason in full", exc_info=True)
            self._on_crash(self.name)
            return False
        self._on_ready()
        return True

    def _obey(self, order: str) -> None:
        """Have every handler unload or reload. One that cannot says so, and the worker goes on."""
        verb, _, checkpoint = order.partition(" ")
        for handler in self._registry:
            try:
                if verb == "reload":
                    handler.reload(checkpoint)
                else:
                    handler.unload()
            except Exception as error:  # noqa: BLE001 - a task that needs the model will tell its client
                log.warning("%s: %s: %s: %s", order, type(handler).__name__, type(error).__name__, error)
        log.info("%s: done", order)

    def _start(self, job: Job) -> bool:
        """Count the delivery, if that is not done already. False when the task is no longer ours to begin."""
        if job.started:
            return True
        if job.stop_reason is None:
            try:
                self._queue.run(self._queue.tasks.start(job.task, lease_ms=self._lease_ms))
            except (LeaseLostError, TaskCancelledError) as error:
                log.info("task %s: not started: %s", job.request_id, error)
            except GaveUpError:
                log.warning("task %s: not started: the worker stops while Redis is away", job.request_id)
            else:
                job.started = True
                return True
        # Cancelled or lost while it was prefetched: the queue has already told the client.
        self._leases.drop(job)
        self._stats.count("lost")
        return False

    def _work(self, jobs: Sequence[Job]) -> None:
        for job, output in zip(jobs, self._together(jobs), strict=True):
            handler = _handler_of(job)
            work = self._render(job, handler) if output is None else Work(job, output=output)
            if work.failure is not None and work.failure.out_of_memory:
                # Only now: while the exception lived, its traceback held the tensors.
                handler.free_memory()
            job.prepared = None
            self._publisher.submit(work)

    def _together(self, jobs: Sequence[Job]) -> Sequence[object | None]:
        """What jobs of one batch came to; None for one that has to be rendered by itself.

        Whatever goes wrong here goes wrong again for its own job alone, and is told there.
        """
        alone = [None] * len(jobs)
        handlers = {_handler_of(job) for job in jobs}
        if len(jobs) < 2 or len(handlers) > 1:
            return alone
        [handler] = handlers
        with self._stats.running(jobs[0]):
            try:
                return handler.run_together(
                    [job.prepared for job in jobs], [self._context(job) for job in jobs]
                )
            except Exception as error:  # noqa: BLE001 - see above
                failure = handler.explain(error)
        if failure.stop is None:
            log.warning("%d tasks of one batch are rendered one by one: %s", len(jobs), failure.message)
        if failure.out_of_memory:
            handler.free_memory()
        return alone

    def _context(self, job: Job) -> RunContext:
        return RunContext(job, self._reporter.report, self._previews.offer)

    def _render(self, job: Job, handler: Handler[object, object]) -> Work:
        ctx = self._context(job)
        with self._stats.running(job):
            try:
                job.check()  # it may have been cancelled since it was reserved
                return Work(job, output=handler.run(job.prepared, ctx))
            except Exception as error:
                failure = handler.explain(error)
                if failure.retry and failure.stop is None:
                    log.warning(
                        "task %s: %s", job.request_id, failure.message, exc_info=not failure.out_of_memory
                    )
        return Work(job, failure=failure)


def _handler_of(job: Job) -> Handler[object, object]:
    if job.handler is None:
        raise AssertionError("a job reaches the torch thread only with its handler")
    return job.handler
