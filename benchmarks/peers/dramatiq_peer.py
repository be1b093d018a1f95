"""dramatiq with its Redis broker and result backend, default middleware."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from peers.noop_jobs import nothing

DISTRIBUTIONS = ("dramatiq", "redis")


def make(url: str) -> tuple[RedisBroker, dramatiq.Actor]:
    broker = RedisBroker(url=url)
    broker.add_middleware(Results(backend=RedisBackend(url=url)))
    dramatiq.set_broker(broker)
    return broker, dramatiq.actor(nothing, actor_name="nothing", store_results=True)


class Producer:
    def __init__(self, url: str) -> None:
        _, self._nothing = make(url)

    def put(self) -> dramatiq.Message:
        return self._nothing.send()

    def put_many(self, count: int) -> Sequence[dramatiq.Message]:
        return dramatiq.group(self._nothing.message() for _ in range(count)).run().children

    def results(self, jobs: Sequence[dramatiq.Message]) -> None:
        for job in jobs:
            assert job.get_result(block=True, timeout=60_000) == "{}"


def connect(url: str) -> Producer:
    return Producer(url)


def work(url: str, slots: int) -> None:
    broker, _ = make(url)
    broker.emit_after("process_boot")
    dramatiq.Worker(broker, worker_threads=slots).start()
    threading.Event().wait()
