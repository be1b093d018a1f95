"""The WebSocket watch, with a client that has nothing in common with the server but the protocol."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from easel_gateway.eas.codecs import PROTOBUF_TYPE
from easel_gateway.eas.query import Query
from easel_gateway.eas.target import Target
from easel_gateway.eas.watch import Ending, Watch
from easel_queue import StreamCalls

from .conftest import WAIT_S, RunningGateway, StartGateway
from .eas_clients import Watcher, left, length, watching


async def test_items_come_in_order_and_never_beyond_the_window(gateway: RunningGateway) -> None:
    for number in range(8):
        await gateway.put_result(f"result {number}")
    async with watching(gateway, _window_="3") as watcher:
        assert await watcher.next() == (1, b"result 0")
        assert await watcher.indexes(2) == [2, 3]
        await watcher.assert_silent()
        await watcher.commit(2)
        assert await watcher.indexes(1) == [4]
        await watcher.assert_silent()
        await watcher.commit(1, 3, 4)
        assert await watcher.indexes(3) == [5, 6, 7]
        await watcher.commit(5, 6, 7)
        assert await watcher.indexes(1) == [8]
        await watcher.commit(8)
        assert await length(gateway) == "0", "at once, without any wait"


async def test_what_comes_while_watching_is_pushed(gateway: RunningGateway) -> None:
    async with watching(gateway) as watcher:
        for number in range(1, 4):
            await gateway.put_result()
            assert await watcher.indexes(1) == [number]


@pytest.mark.parametrize("window", ["1", "2", "100"])
async def test_an_item_takes_one_look(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, window: str
) -> None:
    looks = 0
    deliver = StreamCalls.deliver

    def counted(*args: Any, **how: Any) -> Any:
        nonlocal looks
        looks += 1
        return deliver(*args, **how)

    monkeypatch.setattr(StreamCalls, "deliver", counted)
    async with watching(gateway, _window_=window) as watcher:
        for number in range(1, 11):
            await gateway.put_result()
            assert await watcher.indexes(1) == [number]
            await watcher.commit(number)
    first, commits = 1, 10 if window == "1" else 0  # a commit opens a full window: something may fit in
    assert looks <= first + 10 + commits


async def test_auto_commit_ignores_the_window_and_empties_the_sink(gateway: RunningGateway) -> None:
    for _ in range(10):
        await gateway.put_result()
    async with watching(gateway, _window_="5", _auto_commit_="true") as watcher:
        assert await watcher.indexes(10) == list(range(1, 11))
        await gateway.put_result()
        assert await watcher.indexes(1) == [11]
    await left(gateway)
    assert await length(gateway) == "0"


class LeavingReader:
    """A transport whose peer reads two items and goes while the third is on its way."""

    def __init__(self) -> None:
        self.read = 0
        self.left = asyncio.Event()

    async def open(self) -> None:
        pass

    async def send(self, frame: bytes) -> None:
        if self.read == 2:
            self.left.set()
            await asyncio.Event().wait()
        self.read += 1

    async def gone(self) -> None:
        await self.left.wait()

    async def end(self, ending: Ending) -> None:
        raise AssertionError("the peer went first")


async def test_auto_commit_keeps_to_what_was_sent_when_the_client_goes(gateway: RunningGateway) -> None:
    for _ in range(5):
        await gateway.put_result()
    connection = HTTPConnection({"type": "http", "app": gateway.server.app, "headers": []})
    watch = Watch(connection, Target("sink"), Query.parse(b"_auto_commit_=true"))
    await asyncio.wait_for(watch.run(LeavingReader()), WAIT_S)
    assert (await gateway.attributes(gateway.sink))["stream.firstEntry"] == "3"
    async with watching(gateway, uid="another") as other:
        assert await other.indexes(3) == [3, 4, 5]


async def test_uncommitted_items_of_an_aborted_watcher_are_delivered_again(gateway: RunningGateway) -> None:
    for _ in range(4):
        await gateway.put_result()
    async with watching(gateway) as watcher:
        assert await watcher.indexes(4) == [1, 2, 3, 4]
        await watcher.commit(2)
        watcher.socket.transport.abort()  # as the Python SDK's close does: no close frame
    async with watching(gateway, uid="another") as other:
        assert await other.indexes(3) == [1, 3, 4]


async def test_the_same_uid_may_come_back_at_once(gateway: RunningGateway) -> None:
    await gateway.put_result()
    for _ in range(5):
        async with watching(gateway) as watcher:
            assert await watcher.indexes(1) == [1]
            await watcher.socket.close()


async def test_a_second_watcher_of_one_uid_is_refused_with_409(gateway: RunningGateway) -> None:
    async with watching(gateway) as watcher:
        with pytest.raises(InvalidStatus) as refused:
            async with watching(gateway):
                pass
        assert refused.value.response.status_code == 409
        assert refused.value.response.headers["X-Request-Id"]
        async with watching(gateway, group="other"):
            pass  # the same name in another group is somebody else
        await gateway.put_result()
        assert await watcher.indexes(1) == [1], "the first one is not disturbed"


async def test_watchers_of_a_group_share_and_groups_each_get_all(gateway: RunningGateway) -> None:
    async with (
        watching(gateway, uid="a", _window_="1") as first,
        watching(gateway, uid="b", _window_="1") as second,
        watching(gateway, group="others") as copy,
    ):
        await gateway.put_result()
        await gateway.put_result()
        shared = await first.indexes(1) + await second.indexes(1)
        assert sorted(shared) == [1, 2]
        assert await copy.indexes(2) == [1, 2]


async def test_index_only_leaves_the_data_out(gateway: RunningGateway) -> None:
    await gateway.put_result("large")
    async with watching(gateway, _index_only_="true") as watcher:
        assert await watcher.next() == (1, b"")


async def test_minus_one_means_only_what_comes_now(gateway: RunningGateway) -> None:
    await gateway.put_result("old")
    async with watching(gateway, _index_="-1") as watcher:
        await watcher.assert_silent()
        await gateway.put_result("new")
        assert await watcher.next() == (2, b"new")


async def test_a_tag_filter(gateway: RunningGateway) -> None:
    await gateway.put_result("1", colour="red")
    await gateway.put_result("2", colour="blue")
    async with watching(gateway, colour="blue") as watcher:
        assert await watcher.next() == (2, b"2")
        await watcher.assert_silent()


async def test_without_an_accept_header_frames_are_binary_json(gateway: RunningGateway) -> None:
    await gateway.put_result("x")
    async with connect(f"{gateway.socket_url}{gateway.sink}?_watch_=true") as socket:
        frame = await asyncio.wait_for(socket.recv(), WAIT_S)
        assert isinstance(frame, bytes)
        assert frame.startswith(b'{"index":1,')


async def test_attributes_show_the_watcher(gateway: RunningGateway) -> None:
    await gateway.put_result()
    async with watching(gateway, uid="me", _window_="4") as watcher:
        await watcher.indexes(1)
        assert "easel_watch_sockets 1.0" in (await gateway.client.get("/metrics")).text
        attributes = await gateway.attributes(gateway.sink)
        assert attributes["consumers.stats.total"] == "1"
        line = attributes["consumers.list.[0]"]
        shown = dict(part.split(": ") for part in line.split(", "))
        assert list(shown) == ["Id", "Index", "Pending", "Status", "Idle", "Window", "Slots", "AutoCommit"]
        assert (shown["Id"], shown["Pending"], shown["Window"], shown["Slots"]) == ("eas.me", "1", "4", "3")
        assert attributes["groups.list.[0]"].startswith("Id: eas, ")


async def test_large_frames_arrive_whole(gateway: RunningGateway) -> None:
    big = "x" * 900_000
    await gateway.put_result(big)
    async with watching(gateway) as watcher:
        assert (await watcher.next())[1] == big.encode()


async def test_a_reader_that_is_slow_keeps_its_place(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(watcher_ttl_s=1, reap_interval_s=0.1)
    for number in range(24):
        await gateway.queue.run(gateway.queue.sink.append(b"x" * 800_000, request_id=f"r{number}"))
    url = f"{gateway.socket_url}{gateway.sink}?_watch_=true&_window_=24"
    headers = {"X-EAS-QueueService-Redis-Uid": "slow", "Accept": PROTOBUF_TYPE}
    async with connect(url, additional_headers=headers, compression=None, max_queue=1) as socket:
        watcher = Watcher(gateway, socket, "slow")
        assert await watcher.indexes(1) == [1]
        await asyncio.sleep(2.5)  # more than two lives of a watcher while frames are stuck in the socket
        assert await watcher.indexes(23) == list(range(2, 25))
        await watcher.commit(*range(1, 25))
        await gateway.put_result()
        assert await watcher.indexes(1) == [25], "it is still the same watcher"


async def test_a_gateway_that_stood_still_does_not_sweep_its_own_watchers(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(watcher_ttl_s=1, reap_interval_s=0.1)
    await gateway.put_result()
    async with watching(gateway) as watcher:
        assert await watcher.indexes(1) == [1]
        time.sleep(1.5)  # noqa: ASYNC251 - the whole process stands still, longer than a watcher's life
        await asyncio.sleep(0.5)  # several rounds of the sweeper
        await gateway.put_result()
        assert await watcher.indexes(1) == [2], "it is still the same watcher, and has the first one"


async def test_a_taken_over_socket_is_closed(gateway: RunningGateway) -> None:
    async with watching(gateway, uid="u") as watcher:
        # The watcher of a gateway that seemed dead: its place is given away while its socket still stands.
        calls = gateway.queue.sink
        (line,) = (await gateway.queue.run(calls.attributes())).watchers
        assert line.uid == "u"
        await gateway.queue.run(calls.leave(group="eas", uid="u", connection=await connection_of(gateway)))
        await gateway.put_result()
        with pytest.raises(ConnectionClosed):
            await watcher.frame()


async def connection_of(gateway: RunningGateway) -> str:
    """The connection id that the only watcher of the sink is registered with."""
    raw = await gateway.queue._redis.hgetall(gateway.queue.keys.of("sink", "g:eas:c"))
    (record,) = (json.loads(value) for value in raw.values())
    return str(record["connection"])


@pytest.mark.parametrize(
    ("query", "status"), [("", 400), ("_watch_=true&_window_=0", 400), ("_watch_=true&_index_=x", 400)]
)
async def test_a_wrong_watch_is_refused_before_it_is_accepted(
    gateway: RunningGateway, query: str, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{gateway.socket_url}{gateway.sink}?{query}")
    assert refused.value.response.status_code == status
    with pytest.raises(InvalidStatus) as missing:
        await connect(f"{gateway.socket_url}/api/predict/other/sink?_watch_=true")
    assert missing.value.response.status_code == 404


async def test_a_stopping_gateway_frees_its_watchers(start_gateway: StartGateway) -> None:
    first = await start_gateway()
    await first.put_result()
    async with watching(first) as watcher:
        await watcher.indexes(1)
        await asyncio.wait_for(first.stop(), WAIT_S)
        with pytest.raises(ConnectionClosed):
            await watcher.frame()
    second = await start_gateway()
    async with watching(second) as watcher:
        assert await watcher.indexes(1) == [1], "the same uid, at another gateway, at once"


async def test_a_peer_that_leaves_before_its_handshake_is_answered_is_no_failure(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(gateway, "u1"):
        # Its uid is taken, so the gateway tries again for a while before it answers.
        host, port = gateway.url.removeprefix("http://").split(":")
        _, early = await asyncio.open_connection(host, int(port))
        early.write(
            f"GET {gateway.sink}?_watch_=true HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-EAS-QueueService-Redis-Uid: u1\r\n\r\n".encode()
        )
        await early.drain()
        early.transport.abort()
    for _ in range(500):
        if gateway.server.server_state.tasks:
            await asyncio.sleep(0.02)  # the server has no sign for the end of a request
    assert not gateway.server.server_state.tasks
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
