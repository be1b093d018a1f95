"""uvicorn's HTTP protocol, with limits for requests that are slow or endless, and for too many connections.

httptools and uvicorn set none of these: a head may be of any size and take any time, and a connection that
never sends anything stays for ever.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

_log = logging.getLogger(__name__)

MIN_BYTES_PER_S = 500
"""A body that comes more slowly, its first time-out aside, is given up (as Apache's mod_reqtimeout does)."""
MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; Node and nginx allow 16 to 32 KiB. The same holds for what is sent
between two pieces of a body (chunk extensions, trailers)."""

_TEXTS = {
    400: "Invalid HTTP request received.",
    408: "The request did not come in time.",
    431: f"The request's head is larger than {MAX_HEAD_BYTES} bytes.",
    503: "Too many connections.",
}


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection.

    - The head of its first request must be there within `timeout_s`, that of a later one within that time of
      its first byte, a body within that time and a second more for every 500 bytes of it: 408.
    - A head of more than 64 KiB is a 431, a handshake that the WebSocket parser could not take a 400 or 431.
    - The connection beyond `max_connections` is answered 503 at once and closed.
    """

    timeout_s: float
    max_connections: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it."""
        super().connection_made(transport)
        self._status = 400
        self._idle_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._in_head = False
        self._in_body = False
        self._body_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.max_connections:
            _log.warning("refused a connection: EASEL_MAX_CONNECTIONS (%d) are open", self.max_connections)
            self._refuse(503)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. uvicorn tells its newest request only, and an older one may still run: its
        answer would be an error, because the transport is closed."""
        self._stop_timers()
        if self._running is not None and self._in_answer():
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a piece, and look at how much came without becoming a request or a piece of a body."""
        if self.transport.is_closing():
            return
        if not self._in_answer():
            self._await_head()
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(400 if self._head_timer is None else 431)
        elif self._in_body and self._body_timer is None:
            began = self.loop.time()
            self._body_timer = self.loop.call_later(self.timeout_s, self._look_at_body, began)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._body_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the head. One behind the body (a trailer) is passed over: the application has begun."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: hand the request over."""
        self._in_head, self._in_body = False, True
        self._idle_bytes = 0
        self._head_is_here()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._status = 431
            raise ValueError("the head is too large")  # the parser turns it into send_400_response
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._idle_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._idle_bytes = 0
        self._in_body = False
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the WebSocket protocol, which would hang on what its parser cannot take."""
        self._in_body = False
        lines = [len(name) + len(value) + 4 for name, value in self.headers]
        request_line = len(self.url) + 32
        if len(lines) > MAX_NUM_HEADERS or max(request_line, *lines) > MAX_LINE_LENGTH:
            self._refuse(431)
        elif any(name in {b"content-length", b"transfer-encoding"} for name, _ in self.headers):
            self._refuse(400)  # a handshake has no body
        elif self._in_answer():
            self._refuse(400)  # behind a request that waits: its answer would have no connection any more
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser did not like."""
        self._refuse(self._status)

    def _unsupported_upgrade_warning(self) -> None:
        """Anybody may ask for another protocol; the request is answered without it."""

    def _in_answer(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.timeout_s, self._refuse, 408)

    def _head_is_here(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _look_at_body(self, began: float) -> None:
        """Its first time is over: go on as long as it comes fast enough, or we are who does not read."""
        rest = began + self.timeout_s + self._body_bytes / MIN_BYTES_PER_S - self.loop.time()
        if self.flow.read_paused or rest > 0:
            self._body_timer = self.loop.call_later(max(rest, 1.0), self._look_at_body, began)
            return
        self._refuse(408)

    def _stop_timers(self) -> None:
        self._head_is_here()
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _refuse(self, status: int) -> None:
        self._stop_timers()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        if self._running is not None and self._in_answer() and self._running.response_started:
            self.transport.close()  # in the middle of an answer: too late for another one
            return
        text = _TEXTS[status]
        lines = [
            STATUS_LINE[status].decode(),
            "content-type: text/plain; charset=utf-8\r\n",
            f"content-length: {len(text)}\r\n",
            "retry-after: 2\r\n" if status == 503 else "",
            "connection: close\r\n\r\n",
            text,
        ]
        self.transport.write("".join(lines).encode())
        self.transport.close()


def limited_http(*, timeout_s: float, max_connections: int) -> type[asyncio.Protocol]:
    """The protocol class with these limits, for ``uvicorn.Config(http=...)``."""
    limits = {"timeout_s": timeout_s, "max_connections": max_connections}
    return cast(type[asyncio.Protocol], type("HttpProtocol", (LimitedHttpProtocol,), limits))
