"""RQ with its SimpleWorker: no fork per job, RQ's fastest form."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from rq import Queue, SimpleWorker
from rq.job import Job

from peers.noop_jobs import nothing

DISTRIBUTIONS = ("rq", "redis")
KEEP_S = 600


class Producer:
    def __init__(self, url: str) -> None:
        self._queue = Queue("bench", connection=redis.Redis.from_url(url))

    def put(self) -> Job:
        return self._queue.enqueue(nothing, result_ttl=KEEP_S)

    def put_many(self, count: int) -> Sequence[Job]:
        return self._queue.enqueue_many([Queue.prepare_data(nothing, result_ttl=KEEP_S)] * count)

    def results(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            result = job.latest_result(timeout=60)
            assert result is not None
            assert result.return_value == "{}"


def connect(url: str) -> Producer:
    return Producer(url)


def work(url: str, slots: int) -> None:
    connection = redis.Redis.from_url(url)
    worker = SimpleWorker([Queue("bench", connection=connection)], connection=connection)
    worker.work(logging_level="ERROR", with_scheduler=False)
