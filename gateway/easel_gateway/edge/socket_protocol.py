"""uvicorn's WebSocket protocol, for clients that only listen, and hardened against those that do not.

A watcher has nothing to tell, so its messages are dropped as they come, without being collected.
"""

from __future__ import annotations

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request


class ListenerProtocol(WebSocketsSansIOProtocol):
    """One WebSocket.

    - Nothing is read before the handshake is answered: frames that come early would be taken for valid.
    - While the peer does not read, of all pongs it is owed only the latest is kept (RFC 6455, 5.5.3).
    - Messages, whole or in any number of fragments, cost nothing; their size is limited by ``ws_max_size``.
    """

    _owed: bytes = b""
    _wait_for_accept = False

    def handle_connect(self, event: Request) -> None:
        """A handshake that is right so far goes to the application."""
        super().handle_connect(event)
        if not self.handshake_complete:
            self._wait_for_accept = True
            self.transport.pause_reading()

    async def send(self, message: ASGISendEvent) -> None:
        """What the application sends."""
        await super().send(message)
        if self.close_sent and self.initial_response is not None:
            # Refused with a whole HTTP answer; uvicorn would report an unfinished handshake as our error.
            self.handshake_complete = True
        if self._wait_for_accept and self.handshake_complete:
            self._wait_for_accept = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def handle_ping(self) -> None:
        """Answer, now or when the peer reads again."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
        else:
            self._owed = pong

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        if self._owed and not self.close_sent and not self.transport.is_closing():
            self.transport.write(self._owed)
        self._owed = b""

    def handle_text(self, event: Frame) -> None:
        """Dropped."""

    def handle_bytes(self, event: Frame) -> None:
        """Dropped."""

    def handle_cont(self, event: Frame) -> None:
        """Dropped."""

    def handle_parser_exception(self) -> None:
        """The peer broke the protocol: close with the code that the parser chose."""
        if self.conn.close_sent is None:  # uvicorn asserts that there is one
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.close_sent = True
            self.transport.close()
            return
        super().handle_parser_exception()
