"""One HTTP request to one address that was checked before, with a moment at which everything ends."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import Any

from easel_contract.images import ImageUrl

CONNECT_S = 10.0
"""Longest wait for one address, so that another one of the same name gets its turn."""


class Deadline:
    """A moment; raises TimeoutError once it is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, above 0."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("time is up")
        return left


class PinnedConnection(http.client.HTTPConnection):
    """A connection to `address`, whatever the host's name means by now; with TLS the name is verified.

    A socket's own time-out begins anew with every byte; here each read gets only what is left of the whole.

    Raises:
        OSError: from `connect` and every read; ssl.SSLError is one.
    """

    def __init__(self, url: ImageUrl, address: str, context: ssl.SSLContext, deadline: Deadline) -> None:
        super().__init__(url.host, url.port)
        self._url = url
        self._address = address
        self._context = context
        self._deadline = deadline

    def connect(self) -> None:
        """Open the socket. No proxy of the environment is asked: it would resolve the name again."""
        raw = socket.create_connection(
            (self._address, self._url.port), timeout=min(CONNECT_S, self._deadline.left())
        )
        try:
            raw.settimeout(self._deadline.left())
            if self._url.scheme == "https":
                raw = self._context.wrap_socket(raw, server_hostname=self._url.host)
        except BaseException:
            raw.close()
            raise
        self.sock = _TimedSocket(raw, self._deadline)


class _TimedSocket:
    """What `http.client` needs of a socket."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_TimedReads(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()  # http.client does so early; the socket waits for its file to be closed


class _TimedReads(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
