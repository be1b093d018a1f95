"""A Redis that refuses for now is told apart from a call that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from easel_queue import AsyncQueue, EventHub, Queue, QueueUnavailableError

from ..conftest import RedisServer


@pytest.fixture
def queue(own_redis: RedisServer) -> Iterator[Queue]:
    queue = Queue(own_redis.url, service="away")
    yield queue
    queue.close()


def test_out_of_memory_stores_nothing_and_passes(queue: Queue) -> None:
    queue._redis.config_set("maxmemory", 1)
    with pytest.raises(QueueUnavailableError, match="maxmemory"):
        queue.run(queue.tasks.put(b"x", request_id="r1"))
    queue._redis.config_set("maxmemory", 0)
    assert queue.run(queue.tasks.status("r1")) is None
    assert queue.run(queue.tasks.put(b"x", request_id="r1")).index == 1


def test_a_replica_that_was_not_promoted_yet_refuses(queue: Queue, redis_server: RedisServer) -> None:
    queue.run(queue.sink.count())
    queue._redis.replicaof("127.0.0.1", redis_server.port)
    with pytest.raises(QueueUnavailableError, match=r"(?i)read ?only|is a replica"):
        queue.run(queue.tasks.put(b"x", request_id="r1"))


async def test_a_hub_stopped_while_it_connects_ends(own_redis: RedisServer) -> None:
    for _ in range(20):
        queue = AsyncQueue(own_redis.url, service="brief")
        hub = EventHub(queue)
        await hub.start()
        await asyncio.wait_for(hub.stop(), 10)
        assert hub._runner is not None
        assert hub._runner.done()
        await queue.close()
