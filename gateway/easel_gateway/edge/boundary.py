"""The last place an exception can reach before the wire."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from easel_gateway.errors import answer, envelope

_log = logging.getLogger(__name__)


class ErrorBoundary:
    """Answer every exception that left a handler: known ones as `errors.answer` says, others with a 500 that
    names the class only. Tracebacks go to the log. A WebSocket not yet accepted is refused the same way."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except ClientDisconnect:
            return
        except Exception as error:
            if scope["type"] == "websocket" and isinstance(error, OSError):
                raise  # the peer left before its handshake was answered: the server ends it quietly
            response = answer(error)
            if response is None:
                _log.exception("%s %s failed", scope.get("method", "websocket"), scope["path"])
                response = envelope(
                    500, error=type(error).__name__, detail="Internal error; see the server's log."
                )
            if begun:
                # Too late for a status: cut the answer short so that the client sees it is not whole.
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1011, "reason": type(error).__name__})
                    return
                raise
            await response(scope, receive, send)
