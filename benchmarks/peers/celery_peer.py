"""Celery with Redis as broker and result backend."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery, group
from celery.result import AsyncResult

from peers.noop_jobs import nothing

DISTRIBUTIONS = ("celery", "kombu", "redis")


def make(url: str) -> Celery:
    app = Celery("bench", broker=url, backend=url)
    app.conf.worker_hijack_root_logger = False
    app.task(name="bench.nothing")(nothing)
    return app


class Producer:
    def __init__(self, url: str) -> None:
        self._app = make(url)
        self._nothing = self._app.tasks["bench.nothing"]

    def put(self) -> AsyncResult:
        return self._nothing.delay()

    def put_many(self, count: int) -> Sequence[AsyncResult]:
        return group(self._nothing.s() for _ in range(count)).apply_async().results

    def results(self, jobs: Sequence[AsyncResult]) -> None:
        for job in jobs:
            assert job.get(timeout=60) == "{}"


def connect(url: str) -> Producer:
    return Producer(url)


def work(url: str, slots: int) -> None:
    pool = ["--pool=solo"] if slots == 1 else ["--pool=threads", f"--concurrency={slots}"]
    quiet = ["--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    make(url).worker_main(["worker", *pool, *quiet])
