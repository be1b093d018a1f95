"""huey with RedisHuey and thread workers."""

from __future__ import annotations

from collections.abc import Sequence

from huey import RedisHuey
from huey.api import Result

from peers.noop_jobs import nothing

DISTRIBUTIONS = ("huey", "redis")


def make(url: str):
    # notify_result: waiting for a result blocks in Redis instead of polling
    huey = RedisHuey("bench", url=url, notify_result=True)
    return huey, huey.task(name="nothing")(nothing)


class Producer:
    def __init__(self, url: str) -> None:
        _, self._nothing = make(url)

    def put(self) -> Result:
        return self._nothing()

    def put_many(self, count: int) -> Sequence[Result]:
        return self._nothing.map([()] * count)  # a put for each, one after the other: there is no other bulk

    def results(self, jobs: Sequence[Result]) -> None:
        for job in jobs:
            assert job.get(blocking=True, timeout=60) == "{}"


def connect(url: str) -> Producer:
    return Producer(url)


def work(url: str, slots: int) -> None:
    huey, _ = make(url)
    huey.create_consumer(workers=slots, periodic=False, check_worker_health=False).run()
