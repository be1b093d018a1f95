"""A WebSocket client from nothing but a socket: it sees what libraries hide, every frame as it was sent."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlencode

from .service import TOKEN, WAIT_S, Service

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Frame:
    """One frame. `final` and `reserved` are its first bits, `masked` must be false from a server."""

    final: bool
    reserved: int
    opcode: int
    masked: bool
    payload: bytes


class RefusedError(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class WireSocket:
    """One connection. `extra` are headers of the client's kind.

    Raises:
        RefusedError: the server did not switch protocols.
    """

    def __init__(self, service: Service, path: str, query: dict[str, str], extra: dict[str, str]) -> None:
        host, port = service.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self._writing = threading.Lock()
        self._buffer = b""
        key = base64.b64encode(os.urandom(16))
        headers = {
            "Host": service.address,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode(),
            "Sec-WebSocket-Version": "13",
            "Authorization": TOKEN,
            **extra,
        }
        lines = [
            f"GET {path}?{urlencode(query)} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
        }
        status = int(first.split()[1])
        if status != 101:
            self.abort()
            raise RefusedError(status)
        wanted = base64.b64encode(hashlib.sha1(key + _ACCEPT).digest()).decode()  # noqa: S324 - RFC 6455 says so
        assert self.headers["sec-websocket-accept"] == wanted

    def __enter__(self) -> WireSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def frame(self) -> Frame:
        """The next frame, of any kind.

        Raises:
            EOFError: the server has closed.
            TimeoutError: nothing came (socket.timeout).
        """
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return Frame(bool(first & 128), first >> 4 & 7, first & 15, bool(second & 128), self._take(length))

    def item(self) -> bytes:
        """The payload of the next data frame, which must be whole, binary, unmasked and not empty.

        Pongs are passed over and pings answered, as every client does.

        Raises:
            EOFError: the server has closed, with a close frame or without.
        """
        while True:
            frame = self.frame()
            assert not frame.masked
            assert not frame.reserved
            assert frame.final, "Go's client reads frame by frame"
            if frame.opcode == PING:
                self.send(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                raise EOFError(frame.payload)
            elif frame.opcode != PONG:
                assert frame.opcode == BINARY, "never text"
                assert frame.payload, "an empty message would reach the user as an item"
                return frame.payload

    def send(self, opcode: int, payload: bytes = b"") -> None:
        """One masked frame of up to 125 bytes. A connection that is gone is not an error."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[position % 4] for position, byte in enumerate(payload))
        with self._writing, contextlib.suppress(OSError):
            self.socket.sendall(bytes([128 | opcode, 128 | len(payload)]) + mask + masked)

    def abort(self) -> None:
        """End TCP without a word of WebSocket, as the Python SDK's close does. Wakes a reader."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _more(self) -> None:
        try:
            received = self.socket.recv(65536)
        except ConnectionError as error:
            raise EOFError from error
        if not received:
            raise EOFError
        self._buffer += received
