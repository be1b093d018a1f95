"""The worker: its stages, started and stopped in the right order.

queue ──reserve──> Prefetcher ──Handoff──> TorchThread ──bounded queue──> Publisher ──finish──> queue
                      │                        │  progress                    │
                      └────── LeaseKeeper holds every job from reserve to finish; Inbox hears cancels
"""

from __future__ import annotations

import logging
import queue
import time

from easel_claims import Claims, Depot
from easel_queue import Queue
from easel_worker.duty import Duty
from easel_worker.handlers.registry import Registry
from easel_worker.handoff import Handoff
from easel_worker.heartbeat import Heartbeat
from easel_worker.inbox import Inbox
from easel_worker.job import StopReason
from easel_worker.lease import LeaseKeeper
from easel_worker.prefetch import Prefetcher
from easel_worker.previews import PreviewSender
from easel_worker.progress import ProgressReporter
from easel_worker.publish import Publisher
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats
from easel_worker.steady import SteadyQueue
from easel_worker.torch_thread import TorchThread

log = logging.getLogger(__name__)

STOP_S = 10.0
"""After `drain_s`: the time for a stopped job to reach its next step, and for publishing to end."""


class Worker:
    """All stages of one worker process.

    `events` gets "ready" once every handler is set up, "crashed" when a stage died; the owner of the
    process reads it, adds its own signals, and calls `drain`.
    """

    def __init__(
        self, queue_: Queue, registry: Registry, depot: Depot, stats: Stats, settings: WorkerSettings
    ) -> None:
        # SimpleQueue, because signal handlers may put into it at any moment.
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._settings = settings
        self._stats = stats
        self._queue = SteadyQueue(queue_)
        claims = Claims(depot, queue_.claims, self._queue)
        self._handoff = Handoff(settings.prefetch)
        self._reporter = ProgressReporter(self._queue, self._crashed)
        self._previews = PreviewSender(self._queue, self._crashed)
        self._leases = LeaseKeeper(self._queue, settings.lease_ms, self._crashed)
        self._inbox = Inbox(self._queue, settings.worker_id, self._leases, self._handoff.order, self._crashed)
        self.heartbeat = Heartbeat(self._queue, registry, stats, settings, self._crashed)
        self._publisher = Publisher(
            self._queue, claims, self._leases, self._reporter, stats, settings, self._crashed
        )
        self._prefetcher = Prefetcher(
            self._queue,
            registry,
            claims,
            self._leases,
            self._handoff,
            self._publisher,
            settings,
            self._crashed,
        )
        self._torch = TorchThread(
            self._queue,
            registry,
            self._leases,
            self._handoff,
            self._publisher,
            self._reporter,
            self._previews,
            stats,
            settings.lease_ms,
            self._ready,
            self._crashed,
        )
        self._serving = False

    def start(self) -> None:
        """Set the handlers up on the torch thread; "ready" follows in `events`."""
        self._torch.start()

    def serve(self) -> None:
        """Begin to take tasks. Called once, after "ready"."""
        self._serving = True
        for duty in (
            self._leases,
            self._reporter,
            self._previews,
            self._inbox,
            self._publisher,
            self.heartbeat,
            self._prefetcher,
        ):
            duty.start()

    def drain(self) -> bool:
        """Stop taking tasks, give back what nobody began, finish and publish the running one.

        After `drain_s` the running task is told to stop and is given back too. Returns True when
        everything ended in order; False when a handler did not stop and its lease must lapse.
        """
        deadline = time.monotonic() + self._settings.drain_s
        if not self._serving:
            return True  # no task was taken yet: whatever is being loaded may be dropped
        self.heartbeat.draining = True
        self.heartbeat.poke()
        self._prefetcher.stop()
        for job in self._handoff.close_intake():
            self._prefetcher.give_back(job)
        self._handoff.close()
        finished = self._ended(self._torch, deadline) or self._stop_running()
        self._inbox.stop()  # its last wait runs out while the others end
        self._prefetcher.join(STOP_S)
        self._publisher.close()
        if not self._ended(self._publisher, max(deadline, time.monotonic() + STOP_S)):
            self._queue.give_up.set()
            self._publisher.join(STOP_S)
            finished = False
        self._stop_duties()
        return finished

    def _ended(self, duty: Duty, deadline: float) -> bool:
        """Wait for a stage. False at the deadline, or when Redis was away for a whole lease: then the task is
        another worker's to run, and there is nothing left to wait for."""
        while not duty.join(min(1.0, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or self._queue.away_s > self._settings.lease_s:
                return False
        return True

    def _stop_running(self) -> bool:
        current = self._stats.current
        for job in () if current is None else current.company:
            log.warning(
                "task %s: did not end within drain_s=%g; stopping it", job.request_id, self._settings.drain_s
            )
            job.stop(StopReason.SHUTDOWN)
        if self._torch.join(STOP_S):
            return True
        self._queue.give_up.set()
        return self._torch.join(1.0)

    def _stop_duties(self) -> None:
        self._queue.give_up.set()
        duties = (self._inbox, self._leases, self._reporter, self._previews, self.heartbeat)
        for duty in duties:
            duty.stop()
        for duty in duties:
            duty.join(STOP_S)

    def _ready(self) -> None:
        self.events.put("ready")

    def _crashed(self, name: str) -> None:
        self.events.put("crashed")
