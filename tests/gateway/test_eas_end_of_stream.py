"""Ending a stream over HTTP, and what watchers see of it."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .conftest import WAIT_S, Consumer, RunningGateway
from .eas_clients import left, length, streaming, watching

END = {"_eos_": "true"}
FORCED = {"_eos_": "true", "_force_": "true"}


async def end(gateway: RunningGateway, path: str, params: dict[str, str] = END) -> None:
    response = await gateway.client.post(path, params=params)
    assert (response.status_code, response.text) == (200, "OK")


async def test_a_watcher_is_finished_when_it_has_committed_everything(gateway: RunningGateway) -> None:
    for _ in range(3):
        await gateway.put_result()
    async with watching(gateway, _window_="2") as watcher:
        assert await watcher.indexes(2) == [1, 2]
        for _ in range(2):
            await end(gateway, gateway.sink)
        await watcher.commit(1, 2)
        assert await watcher.indexes(1) == [3]
        await watcher.assert_silent()
        await watcher.commit(3)
        with pytest.raises(ConnectionClosed) as closed:
            await watcher.frame()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "end of stream")
    attributes = await gateway.attributes(gateway.sink)
    assert "Status: Complete" in attributes["consumers.list.[0]"]
    assert attributes["meta.state"] == "Ended"
    assert attributes["stream.length"] == "0"


async def test_an_auto_committing_stream_ends_after_the_last_item(gateway: RunningGateway) -> None:
    for _ in range(20):
        await gateway.put_result()
    await end(gateway, gateway.sink)
    async with streaming(gateway, _auto_commit_="true") as watcher:
        assert await watcher.indexes(20) == list(range(1, 21))
        await watcher.assert_ends()
    assert await length(gateway) == "0"


async def test_an_ended_queue_refuses_puts_and_watches_until_it_is_cleared(gateway: RunningGateway) -> None:
    await gateway.put_result()
    for path in (gateway.sink, gateway.source):
        await end(gateway, path)
        refused = await gateway.client.post(path, content=b"late")
        assert refused.status_code == 410
        assert "has ended" in refused.json()["detail"]
    await gateway.client.delete(gateway.sink, params={"_indexes_": "1"})
    with pytest.raises(InvalidStatus) as handshake:
        async with watching(gateway):
            pass
    assert handshake.value.response.status_code == 410
    plain = await gateway.client.get(gateway.sink, params={"_watch_": "true"})
    assert plain.status_code == 410
    for path in (gateway.sink, gateway.source):  # as the Java SDK's clear does
        last = int((await gateway.attributes(path))["stream.lastEntry"])
        await gateway.client.delete(path, params={"_trunc_": "true", "_index_": str(last + 1)})
        assert (await gateway.client.post(path, content=b"on time")).status_code == 200
        assert (await gateway.attributes(path))["meta.state"] == "Normal"
    async with watching(gateway) as watcher:
        assert (await watcher.next())[1] == b"on time"


async def test_a_repeated_put_keeps_its_answer_on_an_ended_queue(gateway: RunningGateway) -> None:
    for path in (gateway.sink, gateway.source):

        async def put(key: str, path: str = path) -> tuple[int, str | None]:
            headers = {"Idempotency-Key": key}
            response = await gateway.client.post(path, content=b"x", headers=headers)
            return response.status_code, response.headers.get("X-Eas-Queueservice-Request-Id")

        first = await put("first")
        await end(gateway, path, FORCED)
        assert await put("first") == first
        assert (await put("new"))[0] == 410
        await gateway.client.delete(path, params={"_indexes_": "2"})
        assert (await put("new"))[0] == 200, "the refusal was not remembered"


async def test_a_put_whose_tag_says_false_is_a_put(gateway: RunningGateway) -> None:
    response = await gateway.client.post(gateway.sink, params={"_eos_": "false"}, content=b"x")
    assert response.text == "1"


async def test_a_forced_end_closes_at_once_and_drops_the_rest(gateway: RunningGateway) -> None:
    for _ in range(5):
        await gateway.put_result()
    async with (
        watching(gateway, uid="a", _window_="2") as socket,
        streaming(gateway, uid="b", _window_="1") as stream,
    ):
        assert await socket.indexes(2) == [1, 2]
        assert await stream.indexes(1) == [3]
        await end(gateway, gateway.sink, FORCED)
        with pytest.raises(ConnectionClosed):
            await socket.frame()
        await stream.assert_ends()
    assert await length(gateway) == "3", "delivered, and may still be committed"
    await left(gateway)
    async with watching(gateway, uid="a") as again:
        assert await again.indexes(3) == [1, 2, 3]
        await again.commit(1, 2, 3)
        with pytest.raises(ConnectionClosed):
            await again.frame()


async def test_a_forced_end_of_the_input_lets_the_running_task_finish(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    await gateway.client.post(gateway.source, content=b"runs")
    task = await consumer.begin()
    body, named = {"prompt": "x"}, {"X-Request-Id": "dropped"}
    dropped = asyncio.create_task(gateway.client.post("/sdapi/v1/txt2img", json=body, headers=named))
    await gateway.wait_stored("dropped")
    await end(gateway, gateway.source, FORCED)
    assert (await asyncio.wait_for(dropped, WAIT_S)).status_code == 410
    await consumer.finish(task, b"finished")
    answer = await gateway.client.get(gateway.sink, params={"_raw_": "true", "_timeout_": "5s"})
    assert answer.content == b"finished"
    late = await gateway.client.post("/sdapi/v1/txt2img", json=body)
    assert late.status_code == 410
