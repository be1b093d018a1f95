"""EAS consumers that have nothing in common with the server but the protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from easel_gateway.eas.codecs import PROTOBUF_TYPE

from .conftest import WAIT_S, RunningGateway


class Watcher:
    """One EAS consumer."""

    def __init__(self, gateway: RunningGateway, socket: ClientConnection, uid: str) -> None:
        self.gateway = gateway
        self.socket = socket
        self.uid = uid

    async def frame(self) -> bytes:
        """The next frame."""
        frame = await asyncio.wait_for(self.socket.recv(), WAIT_S)
        assert isinstance(frame, bytes), "never text"
        assert frame, "never empty"
        return frame

    async def next(self) -> tuple[int, bytes]:
        """Index and data of the next item; reads the protobuf by hand."""
        return read_frame(await self.frame())

    async def indexes(self, count: int) -> list[int]:
        return [(await self.next())[0] for _ in range(count)]

    async def commit(self, *indexes: int) -> None:
        headers = {"X-EAS-QueueService-Redis-Uid": self.uid, "X-EAS-QueueService-Redis-Gid": "eas"}
        params = {"_indexes_": ",".join(map(str, indexes))}
        response = await self.gateway.client.put(self.gateway.sink, params=params, headers=headers)
        assert response.text == "OK"

    async def reject(self, *indexes: int, code: str = "", reason: str = "") -> None:
        await reject(self.gateway, self.gateway.sink, *indexes, uid=self.uid, code=code, reason=reason)

    async def assert_silent(self) -> None:
        """Nothing is on its way: the pong comes back and no frame was before it."""
        await asyncio.wait_for(await self.socket.ping(), WAIT_S)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(self.socket.recv(), 0.2)


def read_frame(frame: bytes) -> tuple[int, bytes]:
    """Field 1 (varint) and field 3 (bytes) of a DataFrameProto."""
    index, data, at = 0, b"", 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = frame[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(frame):
        tag = varint()
        if tag == 1 << 3:
            index = varint()
        else:
            length = varint()
            if tag == 3 << 3 | 2:
                data = frame[at : at + length]
            at += length
    return index, data


@contextlib.asynccontextmanager
async def watching(
    gateway: RunningGateway, uid: str = "u1", group: str = "eas", *, path: str = "", **query: Any
) -> AsyncIterator[Watcher]:
    parameters = {"_watch_": "true", "_index_": "0", "_window_": "5", **query}
    headers = {
        "X-EAS-QueueService-Redis-Uid": uid,
        "X-EAS-QueueService-Redis-Gid": group,
        "Accept": PROTOBUF_TYPE,
    }
    url = f"{gateway.socket_url}{path or gateway.sink}?{urlencode(parameters)}"
    async with connect(url, additional_headers=headers, compression=None) as socket:
        yield Watcher(gateway, socket, uid)


async def reject(
    gateway: RunningGateway, path: str, *indexes: int, uid: str = "u1", group: str = "eas", **form: str
) -> None:
    """A negative commit as the Go and Java SDKs send it; empty fields are left out."""
    headers = {"X-EAS-QueueService-Redis-Uid": uid, "X-EAS-QueueService-Redis-Gid": group}
    params = {"_indexes_": ",".join(map(str, indexes)), "_negative_": "true"}
    data = {f"_{name}_": value for name, value in form.items() if value}
    response = await gateway.client.put(path, params=params, headers=headers, data=data)
    assert (response.status_code, response.text) == (200, "OK"), response.text


async def length(gateway: RunningGateway) -> str:
    return (await gateway.attributes(gateway.sink))["stream.length"]


async def left(gateway: RunningGateway, state: str = "Running") -> None:
    """Come back when no watcher is in `state` any more; every change of one is a signal of the sink."""
    for _ in range(200):
        attributes = await gateway.attributes(gateway.sink)
        lines = [value for name, value in attributes.items() if name.startswith("consumers.list.")]
        if not any(f"Status: {state}" in line for line in lines):
            return
        await asyncio.sleep(0.02)  # leaving has no event of its own
    raise AssertionError(lines)


class StreamWatcher:
    """A consumer without a WebSocket: frames of four length bytes and a DataFrameProto."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._chunks = response.aiter_raw()
        self._buffer = b""

    async def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += await asyncio.wait_for(anext(self._chunks), WAIT_S)
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def frame(self) -> bytes:
        """The next frame. Raises StopAsyncIteration at the end of the stream."""
        return await self._read(int.from_bytes(await self._read(4), "big"))

    async def indexes(self, count: int) -> list[int]:
        return [read_frame(await self.frame())[0] for _ in range(count)]

    async def assert_ends(self) -> None:
        """Nothing comes any more, and the answer is complete."""
        with pytest.raises(StopAsyncIteration):
            await self.frame()
        assert self._buffer == b""


@contextlib.asynccontextmanager
async def streaming(
    gateway: RunningGateway, uid: str = "u1", group: str = "eas", accept: str = PROTOBUF_TYPE, **query: Any
) -> AsyncIterator[StreamWatcher]:
    """A watch by plain HTTP, on a connection of its own that ends with the block."""
    params = {"_watch_": "true", "_index_": "0", "_window_": "5", **query}
    headers = {"X-EAS-QueueService-Redis-Uid": uid, "X-EAS-QueueService-Redis-Gid": group, "Accept": accept}
    async with (
        httpx.AsyncClient(base_url=gateway.url, timeout=WAIT_S) as client,
        client.stream("GET", gateway.sink, params=params, headers=headers) as response,
    ):
        yield StreamWatcher(response)
