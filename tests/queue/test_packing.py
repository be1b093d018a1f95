"""What an event loop's connections send is what redis-py would send."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio

from easel_queue import AsyncQueue
from easel_queue.packing import pack_in_c


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///s"])
@pytest.mark.parametrize(
    "command",
    [
        ("PING",),
        ("CONFIG GET", "save"),
        ("EVALSHA", "0" * 40, 1, "key", b"\x00\r\n\xff", "é", "", -1, 2**53),
        (b"SET", b"k", memoryview(b"v"), bytearray(b"w")),
        ("SET", "k", b"x" * 100_000),
        ("SET", "k", 1.5),
    ],
)
def test_a_command_is_packed_as_by_redis_py(url: str, command: tuple[Any, ...]) -> None:
    plain = redis.asyncio.BlockingConnectionPool.from_url(url)
    ours = pack_in_c(redis.asyncio.BlockingConnectionPool.from_url(url))
    wanted = b"".join(plain.make_connection().pack_command(*command))
    connection = ours.make_connection()
    assert isinstance(connection, plain.connection_class)
    assert b"".join(connection.pack_command(*command)) == wanted


def test_half_a_surrogate_pair_is_refused_before_anything_is_sent() -> None:
    connection = pack_in_c(redis.asyncio.BlockingConnectionPool.from_url("redis://h")).make_connection()
    with pytest.raises(UnicodeEncodeError):
        connection.pack_command("SET", "k", "\ud800")


async def test_a_queue_of_an_event_loop_uses_it(aqueue: AsyncQueue) -> None:
    body = bytes(range(256)) * 1000
    await aqueue.run(aqueue.tasks.put(body, request_id="r1", tags={"name": "é\r\n"}))
    (task,) = await aqueue.run(aqueue.tasks.reserve_batch(worker="w", lease_ms=1000, limit=1))
    assert (task.data, task.tags["name"]) == (body, "é\r\n")
    (connection,) = aqueue._redis.connection_pool._available_connections
    assert len(connection.pack_command("SET", "k", b"x" * 100_000)) == 1
