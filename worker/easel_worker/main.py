"""Starts one worker process and turns signals into a drain."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from prometheus_client import start_http_server

from easel_claims import Depot
from easel_contract import logs
from easel_contract.settings import load
from easel_queue import Queue
from easel_store import StoreError, claims_store
from easel_worker import __version__, doctor
from easel_worker.handlers.registry import load_handlers
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats
from easel_worker.worker import Worker

log = logging.getLogger(__name__)

USAGE = "usage: python -m easel_worker [doctor]\n"


def main(argv: Sequence[str]) -> int:
    """Run the worker, or ``doctor``. Returns the exit status: 0 after a clean drain."""
    if list(argv) == ["doctor"]:
        return doctor.main()
    if argv:
        sys.stderr.write(USAGE)
        return 2
    settings = load(WorkerSettings)
    logs.setup("worker", settings.log_level, settings.log_format)
    if settings.redis_url is None:
        log.error("EASEL_REDIS_URL is not set: say where Redis is, for example redis://127.0.0.1:6379/0")
        return 2
    stats = Stats()
    try:
        registry = load_handlers(settings.handlers, settings, stats)
        store = claims_store(settings)
    except (ValueError, StoreError) as error:
        log.error("%s", error)
        return 2
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
    queue = Queue(
        settings.redis_url.get_secret_value(),
        service=settings.service,
        wait_replicas=settings.redis_wait_replicas,
        wait_ms=settings.redis_wait_ms,
    )
    try:
        depot = Depot(store, service=settings.service, threshold=settings.queue_claim_bytes)
        return serve(Worker(queue, registry, depot, stats, settings), settings)
    finally:
        queue.close()


def serve(worker: Worker, settings: WorkerSettings) -> int:
    """Drive `worker` until a signal or a crash. The first signal drains, the second exits at once."""
    signals = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(128 + number)
        worker.events.put("stop")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    worker.start()
    while True:
        event = worker.events.get()
        if event == "ready":
            worker.serve()
            log.info("worker %s is ready (version %s, pid %d)", settings.worker_id, __version__, os.getpid())
        elif event == "stop":
            log.info("draining: the running task is finished, the others are given back")
            finished = worker.drain()
            log.info("stopped")
            return 0 if finished else 1
        else:
            return 1
