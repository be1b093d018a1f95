"""The two wires of a watch: WebSocket messages, and frames in one endless HTTP answer."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from easel_gateway.eas.watch import Ending, Watch

_CLOSE_CODES = {
    Ending.COMPLETE: 1000,
    Ending.TAKEN_OVER: 1008,
    Ending.STOPPING: 1001,
    Ending.AWAY: 1011,
    Ending.STORE_AWAY: 1011,
}

LENGTH_BYTES = 4
"""Before every frame of a stream stands its length, big-endian."""


class SocketTransport:
    """One binary message per item. Clients reconnect whatever the close code says; it is for people."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def open(self) -> None:
        """Accept the handshake."""
        await self._socket.accept()

    async def send(self, frame: bytes) -> None:
        """One unfragmented binary message: Go's client reads frame by frame."""
        await self._socket.send_bytes(frame)

    async def gone(self) -> None:
        """Read until the peer's close or EOF; what a watcher says means nothing."""
        while (await self._socket.receive())["type"] != "websocket.disconnect":
            pass

    async def end(self, ending: Ending) -> None:
        """Close with the code that fits."""
        try:
            await self._socket.close(_CLOSE_CODES[ending], ending.value)
        except (RuntimeError, WebSocketDisconnect):
            return  # the peer was faster


class StreamTransport:
    """An endless chunked answer: per item its length in four bytes, big-endian, and the encoded frame."""

    def __init__(self, receive: Receive, send: Send, *, content_type: str) -> None:
        self._receive = receive
        self._send = send
        self._content_type = content_type

    async def open(self) -> None:
        """Send the headers, so that the client knows before the first item comes."""
        headers = [
            (b"content-type", self._content_type.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would collect frames
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(self, frame: bytes) -> None:
        """One frame; blocks while the socket is full, so nothing piles up for a slow reader."""
        body = len(frame).to_bytes(LENGTH_BYTES, "big") + frame
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def gone(self) -> None:
        """Wait for the client's hang-up; a body of the request is passed over."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def end(self, ending: Ending) -> None:
        """End the answer. Why cannot be told here any more; the attributes show the watcher's state."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class WatchStream(Response):
    """The answer to a watch without a WebSocket. Refusals come before its status line."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = StreamTransport(receive, send, content_type=self._watch.codec.content_type)
        await self._watch.run(transport)
