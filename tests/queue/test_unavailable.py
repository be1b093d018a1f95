"""A Redis that refuses for now is told apart from a call that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from easel_queue import AsyncQueue, EventHub, Queue, QueueUnavailableError

from ..chaos.proxy import Mode, Proxy, ProxyLoop
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
        assert hub._changes._runner is not None
        assert hub._changes._runner.done()
        await queue.close()


@pytest.fixture
def proxied(redis_server: RedisServer) -> Iterator[tuple[Proxy, str]]:
    """A proxy before Redis, and the address through it."""
    loop = ProxyLoop()
    proxy = Proxy(loop, redis_server.port)
    yield proxy, redis_server.url.replace(f":{redis_server.port}/", f":{proxy.port}/")
    loop.close()


def test_a_reset_connection_is_an_absent_redis_under_uvloop_too(
    proxied: tuple[Proxy, str], service: str
) -> None:
    proxy, url = proxied

    async def scenario() -> None:
        queue = AsyncQueue(url, service=service)
        assert await queue.run(queue.sink.count()) == 0
        await asyncio.to_thread(proxy.set, Mode.RESET)
        for _ in range(200):
            with pytest.raises(QueueUnavailableError):
                await queue.ping()
        await asyncio.to_thread(proxy.set, Mode.PASS)
        assert await queue.run(queue.sink.count()) == 0
        await queue.close()

    uvloop.run(scenario())


def test_the_hub_outlives_reset_connections_under_uvloop_too(
    proxied: tuple[Proxy, str], redis_url: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("easel_queue.feed.RECONNECT_S", (0.001,))  # hundreds of tries, not three
    proxy, url = proxied

    async def scenario() -> None:
        queue, direct = AsyncQueue(url, service=service), AsyncQueue(redis_url, service=service)
        hub = EventHub(queue)
        await hub.start()
        await hub.ready()
        await asyncio.to_thread(proxy.set, Mode.RESET)
        await asyncio.sleep(0.5)  # it tries to connect meanwhile, and nobody can see that
        await asyncio.to_thread(proxy.set, Mode.PASS)
        with hub.on_queue("sink") as signal:
            await direct.run(direct.sink.append(b"x", request_id="r1"))
            assert await signal.wait(10), "the reconnect wakes everybody, or the event does"
        await hub.stop()
        await queue.close()
        await direct.close()

    uvloop.run(scenario())
