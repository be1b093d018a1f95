"""Bodies that are too large, or too many at once. (Slow ones are `http_protocol`'s.)"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from easel_gateway.errors import RETRY_AFTER_S, ApiError

_CLOSE = {"Connection": "close"}


class ReceivingMiddleware:
    """Limit what the bodies of all requests cost.

    One may have `max_body_bytes`. All that are being received, or whose requests are not answered yet, may
    have `max_bodies_bytes` together.

    Raises:
        ApiError: from ``receive``: 413 or 503.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_bodies_bytes: int) -> None:
        self.app = app
        self._max_body = max_body_bytes
        self._max_bodies = max_bodies_bytes
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = 0

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                more = len(message.get("body", b""))
                size += more
                self._held += more
                self._check(size)
            return message

        try:
            await self.app(scope, receive_limited, send)
        finally:
            self._held -= size

    def _check(self, size: int) -> None:
        if size > self._max_body:
            raise ApiError(
                413, f"The body is larger than {self._max_body} bytes (EASEL_MAX_BODY_BYTES).", headers=_CLOSE
            )
        if self._held > self._max_bodies:
            raise ApiError(
                503,
                f"The bodies of all requests in work have more than {self._max_bodies} bytes "
                "(EASEL_MAX_BODIES_BYTES); nothing was stored.",
                error="Overloaded",
                headers={"Retry-After": str(RETRY_AFTER_S), **_CLOSE},
            )
