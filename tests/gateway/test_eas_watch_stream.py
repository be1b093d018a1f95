"""The watch without a WebSocket: the same behaviour, another wire."""

from __future__ import annotations

import asyncio
import json

import pytest

from easel_gateway.eas.codecs import PROTOBUF_TYPE

from .conftest import WAIT_S, RunningGateway, StartGateway
from .eas_clients import StreamWatcher, left, length, read_frame, streaming, watching


async def commit(gateway: RunningGateway, *indexes: int) -> None:
    params = {"_indexes_": ",".join(map(str, indexes))}
    assert (await gateway.client.put(gateway.sink, params=params)).text == "OK"


async def test_frames_in_order_and_never_beyond_the_window(gateway: RunningGateway) -> None:
    for number in range(4):
        await gateway.put_result(f"result {number}")
    async with streaming(gateway, _window_="3") as watcher:
        assert watcher.response.status_code == 200
        assert watcher.response.headers["Content-Type"] == PROTOBUF_TYPE
        assert "Content-Length" not in watcher.response.headers
        assert read_frame(await watcher.frame()) == (1, b"result 0")
        assert await watcher.indexes(2) == [2, 3]
        await commit(gateway, 2)
        assert await watcher.indexes(1) == [4]
        await gateway.put_result("pushed")
        await commit(gateway, 1, 3, 4)
        assert read_frame(await watcher.frame()) == (5, b"pushed")
        await commit(gateway, 5)
        assert await length(gateway) == "0"


async def test_without_an_accept_header_frames_are_json(gateway: RunningGateway) -> None:
    await gateway.put_result("x", colour="red")
    await gateway.put_result("y", colour="blue")
    async with streaming(gateway, accept="*/*", colour="blue", _index_only_="true") as watcher:
        frame = json.loads(await watcher.frame())
        assert (frame["index"], frame["tags"]["colour"], frame["data"]) == (2, "blue", "")
        assert watcher.response.headers["Content-Type"] == "application/json"


async def test_start_positions_groups_and_shared_uids(gateway: RunningGateway) -> None:
    for _ in range(3):
        await gateway.put_result()
    async with (
        streaming(gateway, group="n", _index_="3") as from_three,
        streaming(gateway, group="newest", _index_="-1") as newest,
        streaming(gateway, uid="a", _window_="1") as first,
        watching(gateway, uid="b", _window_="2") as second,
    ):
        assert await from_three.indexes(1) == [3]
        assert sorted(await first.indexes(1) + await second.indexes(2)) == [1, 2, 3]
        await gateway.put_result()
        assert await newest.indexes(1) == [4]


async def test_what_a_vanished_client_had_is_delivered_again_at_once(gateway: RunningGateway) -> None:
    for _ in range(3):
        await gateway.put_result()
    async with watching(gateway, uid="other", _window_="3") as other:
        assert await other.indexes(3) == [1, 2, 3]
        await gateway.put_result()
        async with streaming(gateway) as watcher:
            assert await watcher.indexes(1) == [4]
            await other.commit(1, 2, 3)
        # The connection was cut in the middle of the answer, without a word.
        assert await other.indexes(1) == [4]
        lines = [value for name, value in (await gateway.attributes(gateway.sink)).items() if "list" in name]
        assert any("eas.u1" in line and "Leaving" in line for line in lines)


async def test_the_same_uid_may_come_back_at_once_and_a_live_one_is_refused(gateway: RunningGateway) -> None:
    await gateway.put_result()
    for _ in range(3):
        async with streaming(gateway) as watcher:
            assert await watcher.indexes(1) == [1]
    async with watching(gateway) as socket:
        assert await socket.indexes(1) == [1]
        async with streaming(gateway) as refused:
            assert refused.response.status_code == 409
            assert b"give each watcher its own" in await refused.response.aread()


@pytest.mark.parametrize("params", [{"_window_": "0"}, {"_index_": "x"}, {"_auto_commit_": "maybe"}])
async def test_a_wrong_parameter_is_refused_before_the_stream_begins(
    gateway: RunningGateway, params: dict[str, str]
) -> None:
    response = await gateway.client.get(gateway.sink, params={"_watch_": "true", **params})
    assert response.status_code == 400
    assert next(iter(params)) in response.json()["detail"]


async def test_a_stopping_gateway_ends_the_stream(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    async with streaming(gateway) as watcher:
        await gateway.put_result()
        assert await watcher.indexes(1) == [1]
        await asyncio.wait_for(gateway.stop(), WAIT_S)
        await watcher.assert_ends()


async def test_a_slow_reader_gets_no_more_than_fits(gateway: RunningGateway) -> None:
    """It takes nothing for a while: the server keeps what the sockets do not, one delivery at most."""
    size, count = 1_000_000, 60
    for number in range(count):
        await gateway.queue.run(gateway.queue.sink.append(b"x" * size, request_id=f"r{number}"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(gateway.url.rsplit(":", 1)[1]), limit=4096
    )
    request = (
        f"GET {gateway.sink}?_watch_=true&_window_={count} HTTP/1.1\r\nHost: x\r\nAccept: {PROTOBUF_TYPE}"
    )
    writer.write(f"{request}\r\nX-EAS-QueueService-Redis-Uid: slow\r\n\r\n".encode())
    assert b"200 OK" in await reader.readline()

    async def pending() -> int:
        (watcher,) = (await gateway.queue.run(gateway.queue.sink.attributes())).watchers
        return watcher.pending

    before = -1
    while (now := await pending()) != before:  # until it has come to a stop
        before = now
        await asyncio.sleep(0.5)
    assert 0 < before < count, "the rest waits in Redis, not here"
    writer.transport.abort()
    await left(gateway)
    async with streaming(gateway, uid="fast", _window_=str(count)) as fast:
        assert isinstance(fast, StreamWatcher)
        assert await fast.indexes(count) == list(range(1, count + 1))
