"""taskiq with the Redis stream broker (the one of taskiq-redis that acknowledges) and its result backend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop
from taskiq import AsyncTaskiqTask
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

DISTRIBUTIONS = ("taskiq", "taskiq-redis", "redis", "uvloop")
LOOK_AGAIN_S = 0.001


async def nothing() -> str:
    return "{}"


def make(url: str):
    backend = RedisAsyncResultBackend(redis_url=url, result_ex_time=600)
    broker = RedisStreamBroker(url=url, consumer_id="0").with_result_backend(backend)
    return broker, broker.register_task(nothing, task_name="nothing")


class Producer:
    def __init__(self, nothing_task) -> None:
        self._nothing = nothing_task

    async def put(self) -> AsyncTaskiqTask:
        return await self._nothing.kiq()

    async def put_many(self, count: int) -> Sequence[AsyncTaskiqTask]:
        return await asyncio.gather(*[self._nothing.kiq() for _ in range(count)])

    async def results(self, jobs: Sequence[AsyncTaskiqTask]) -> None:
        for job in jobs:
            result = await job.wait_result(check_interval=LOOK_AGAIN_S, timeout=60)
            assert result.return_value == "{}"


async def connect(url: str) -> Producer:
    broker, task = make(url)
    await broker.startup()
    return Producer(task)


def work(url: str, slots: int) -> None:
    async def receive() -> None:
        broker, _ = make(url)
        await run_receiver_task(broker, run_startup=True, max_async_tasks=slots, sync_workers=1)

    uvloop.run(receive())
