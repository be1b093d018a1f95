"""A TCP proxy that misbehaves on demand: between a process and its Redis, or a client and its gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK = 64 * 1024
DELAY_S = 0.1
"""Added to every chunk in each direction by `Mode.DELAY`."""


class Mode(str, Enum):
    """What happens to the bytes."""

    PASS = "pass"
    RESET = "reset"
    """Every connection is reset (RST), and so is every new one."""
    DELAY = "delay"
    """Every chunk comes `DELAY_S` late."""
    HALF_CLOSE = "half-close"
    """The client sees the end of the stream; what it sends still arrives, and nobody hears the answers."""
    BLACK_HOLE = "black-hole"
    """Nothing arrives in either direction while this lasts; then everything does, late."""
    MUTE = "mute"
    """Requests arrive and are carried out, their answers are lost; at the end the connections are reset."""


_HARMED = {Mode.HALF_CLOSE, Mode.MUTE}
"""After these a connection has lost bytes, so it cannot go on."""


class ProxyLoop:
    """The thread in which all proxies of a test run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for its answer."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def close(self) -> None:
        """End every connection and the thread."""
        self.call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Proxy:
    """Listens on a free loopback port and hands everything on to `target`."""

    def __init__(self, loop: ProxyLoop, target: int) -> None:
        self._loop = loop
        self._target = target
        self._links: set[_Link] = set()
        self._mode = Mode.PASS
        self._changed = asyncio.Event()
        self.port: int = loop.call(self._listen())

    def set(self, mode: Mode) -> None:
        """Misbehave from now on, in one way; `Mode.PASS` heals."""
        self._loop.call(self._set(mode))

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _set(self, mode: Mode) -> None:
        before, self._mode = self._mode, mode
        self._changed.set()
        self._changed = asyncio.Event()
        for link in list(self._links):
            if before in _HARMED or mode is Mode.RESET:
                link.reset()
            elif mode is Mode.HALF_CLOSE:
                link.half_close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.RESET:
            _reset(writer)
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)  # as the kernel answers where nobody listens
            return
        link = _Link(writer, back)
        self._links.add(link)
        if self._mode is Mode.HALF_CLOSE:
            link.half_close()
        try:
            await asyncio.gather(
                self._pump(reader, back, answers=False), self._pump(there, writer, answers=True)
            )
        except (OSError, asyncio.CancelledError):
            link.reset()
        finally:
            self._links.discard(link)
            for each in (writer, back):
                each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        while chunk := await source.read(CHUNK):
            while self._mode is Mode.BLACK_HOLE:
                await self._changed.wait()
            if self._mode is Mode.DELAY:
                await asyncio.sleep(DELAY_S)
            if answers and self._mode in _HARMED:
                continue
            sink.write(chunk)
            await sink.drain()
        while self._mode is Mode.BLACK_HOLE:
            await self._changed.wait()
        if sink.can_write_eof() and not sink.is_closing():
            with contextlib.suppress(OSError):
                sink.write_eof()


class _Link:
    """One proxied connection: the client's end and the server's."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._client = client
        self._server = server

    def reset(self) -> None:
        _reset(self._client)
        _reset(self._server)

    def half_close(self) -> None:
        if not self._client.is_closing():
            with contextlib.suppress(OSError):
                self._client.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, not FIN: linger of 0 seconds."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
