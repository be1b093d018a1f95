"""A name for every request, and how long it took."""

from __future__ import annotations

import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from easel_gateway.edge.guards import header

_SANE = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")


class RequestIdMiddleware:
    """Put ``X-Request-Id`` and ``X-Process-Time`` (seconds) on every response.

    A client's own ``X-Request-Id`` is kept when it has 1 to 128 letters, digits, ``_``, ``-`` or ``.``; else
    a UUID is made. A task made by the request carries the same id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = header(scope, b"x-request-id") or ""
        chosen = bool(_SANE.match(given)) and given not in {".", ".."}
        request_id = given if chosen else str(uuid.uuid4())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["request_id_chosen"] = chosen

        async def send_named(message: Message) -> None:
            if message["type"] in {
                "http.response.start",
                "websocket.http.response.start",
                "websocket.accept",
            }:
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"x-process-time", b"%.4f" % (time.perf_counter() - started)),
                ]
            await send(message)

        await self.app(scope, receive, send_named)
