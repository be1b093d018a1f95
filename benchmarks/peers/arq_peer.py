"""arq. It polls for jobs and for results: every half second by default, every millisecond here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job
from arq.worker import Worker

DISTRIBUTIONS = ("arq", "redis", "hiredis", "uvloop")
POLL_S = 0.001


async def nothing(context: dict) -> str:
    return "{}"


class Producer:
    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def put(self) -> Job:
        return await self._pool.enqueue_job("nothing")

    async def put_many(self, count: int) -> Sequence[Job]:
        return await asyncio.gather(*[self._pool.enqueue_job("nothing") for _ in range(count)])

    async def results(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            assert await job.result(timeout=60, poll_delay=POLL_S) == "{}"


async def connect(url: str) -> Producer:
    return Producer(await create_pool(RedisSettings.from_dsn(url)))


def work(url: str, slots: int) -> None:
    async def receive() -> None:
        worker = Worker(
            [nothing],
            redis_settings=RedisSettings.from_dsn(url),
            max_jobs=slots,
            poll_delay=POLL_S,
            keep_result=600,
            log_results=False,
            handle_signals=False,
        )
        await worker.async_run()

    uvloop.run(receive())
