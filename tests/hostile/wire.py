"""Bytes on a socket, for what no HTTP library would send."""

from __future__ import annotations

import base64
import socket
from collections.abc import Sequence

WEBSOCKET_KEY = base64.b64encode(b"sixteen bytes...")
ANSWER_S = 20.0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)


def converse(port: int, *pieces: bytes, finish: bool = False) -> bytes:
    """Send the pieces, read until the peer closes or resets; `finish` tells it that nothing more comes."""
    received = b""
    with connect(port) as peer:
        try:
            for piece in pieces:
                peer.sendall(piece)
            if finish:
                peer.shutdown(socket.SHUT_WR)
            while chunk := peer.recv(65536):
                received += chunk
        except OSError:
            pass
    return received


def status(answer: bytes) -> int:
    """The status of the (first) answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def handshake(path: str | bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    """The request of a WebSocket."""
    target = path.encode() if isinstance(path, str) else path
    lines: Sequence[bytes] = (
        method + b" " + target + b" HTTP/1.1",
        b"Host: easel",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + WEBSOCKET_KEY,
        *headers,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 65536:
        head += bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + len(data).to_bytes(8, "big")
    return head + b"\0\0\0\0" + data


TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9


def open_watch(port: int, path: str, *headers: bytes) -> socket.socket:
    """A socket behind its handshake; the caller closes it."""
    peer = connect(port)
    peer.sendall(handshake(path, *headers))
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = peer.recv(1)
        assert chunk, answer
        answer += chunk
    assert status(answer) == 101, answer
    return peer
