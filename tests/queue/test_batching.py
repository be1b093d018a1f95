"""Puts that come at about the same time share a round trip, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from easel_queue import AsyncQueue, Placed, QueueUnavailableError
from easel_queue.batching import SMALL_BYTES, may_share

from ..conftest import RedisServer


@pytest.fixture
async def queue(redis_url: str, service: str) -> AsyncIterator[AsyncQueue]:
    queue = AsyncQueue(redis_url, service=service)
    yield queue
    await queue.close()


async def put_many(queue: AsyncQueue, count: int, **limits: int) -> list[Placed | BaseException]:
    calls = [queue.tasks.put(b"x", request_id=f"r{number}", **limits) for number in range(count)]
    return await asyncio.gather(*map(queue.run, calls), return_exceptions=True)


async def test_many_puts_need_few_round_trips(queue: AsyncQueue) -> None:
    await queue.run(queue.tasks.put(b"x", request_id="first"))
    before = (await queue.info())["total_reads_processed"]
    placed = await put_many(queue, 200)
    assert {one.index for one in placed if isinstance(one, Placed)} == set(range(2, 202))
    assert (await queue.info())["total_reads_processed"] - before < 40


async def test_each_has_its_own_error(queue: AsyncQueue) -> None:
    outcomes = await put_many(queue, 50, max_length=20)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Placed"] * 20 + ["QueueFullError"] * 30


async def test_a_server_that_forgot_the_script_learns_it(queue: AsyncQueue) -> None:
    await queue.run(queue.tasks.put(b"x", request_id="first"))
    await queue._redis.script_flush()
    placed = await put_many(queue, 50)
    assert {one.index for one in placed if isinstance(one, Placed)} == set(range(2, 52))


async def test_who_goes_away_leaves_the_others_their_answers(queue: AsyncQueue) -> None:
    puts = [
        asyncio.create_task(queue.run(queue.tasks.put(b"x", request_id=f"r{number}"))) for number in range(30)
    ]
    await asyncio.sleep(0)
    for put in puts[::3]:
        put.cancel()
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    stayed = [outcome for number, outcome in enumerate(outcomes) if number % 3]
    assert all(isinstance(outcome, Placed) for outcome in stayed)
    assert isinstance(await queue.run(queue.tasks.put(b"x", request_id="last")), Placed)


@pytest.mark.parametrize("steps", range(12))
async def test_who_goes_away_leaves_its_answer_to_nobody(redis_url: str, service: str, steps: int) -> None:
    queue = AsyncQueue(redis_url, service=service, max_connections=1)
    for number in range(3):
        going = asyncio.create_task(queue.run(queue.tasks.put(b"x", request_id=f"going{number}")))
        for _ in range(steps):
            await asyncio.sleep(0)
        going.cancel()
        staying = [queue.tasks.put(b"x", request_id=f"r{number}.{place}") for place in range(3)]
        for placed in await asyncio.gather(*map(queue.run, staying)):
            status = await queue.run(queue.tasks.status(placed.request_id))
            assert status is not None
            assert status.index == placed.index
        await asyncio.gather(going, return_exceptions=True)
    await queue.close()


async def test_a_broken_round_trip_is_repeated_and_doubles_nothing(own_redis: RedisServer) -> None:
    queue = AsyncQueue(own_redis.url, service="restart")
    await put_many(queue, 10)
    own_redis.kill()
    restart = threading.Timer(0.2, own_redis.start)
    restart.start()
    placed = await put_many(queue, 60)
    restart.join()
    assert {one.index for one in placed if isinstance(one, Placed)} == set(range(1, 61))
    own_redis.kill()
    gone = await put_many(queue, 60)
    assert {type(outcome) for outcome in gone} == {QueueUnavailableError}
    await queue.close()


async def test_closing_ends_what_is_under_way(redis_url: str, service: str) -> None:
    queue = AsyncQueue(redis_url, service=service)
    puts = [
        asyncio.create_task(queue.run(queue.tasks.put(b"x", request_id=f"r{number}"))) for number in range(99)
    ]
    await asyncio.sleep(0)
    await queue.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*puts, return_exceptions=True), 10)
    assert len(outcomes) == 99


def test_large_requests_and_long_answers_go_alone(queue: AsyncQueue) -> None:
    assert may_share(queue.tasks.put(b"x", request_id="r1"))
    assert not may_share(queue.tasks.put(b"x" * SMALL_BYTES, request_id="r1"))
    assert not may_share(queue.sink.get(limit=100))
