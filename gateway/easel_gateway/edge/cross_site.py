"""Keeping foreign web pages from using an open Easel through their visitor's browser."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from easel_gateway.errors import ApiError

_READING = {"GET", "HEAD", "OPTIONS"}
_READING_CHANGES = "/api/predict/"
"""The EAS get removes what it reads, so there even a foreign image tag would do harm."""


class CrossSiteMiddleware:
    """Refuse what a browser sends on behalf of another site, except plain reading.

    Any page may make its visitor's browser post to ``http://127.0.0.1:8000``, and the browser adds a password
    it remembers. Browsers mark such requests with ``Sec-Fetch-Site: cross-site`` (W3C Fetch Metadata);
    programs do not send the header. Origins that the operator lets in are no strangers.

    Raises:
        ApiError: 403.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = (), regex: str = "") -> None:
        self.app = app
        self._origins = frozenset(origins)
        self._regex = re.compile(regex) if regex else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            foreign = Headers(scope=scope).get("sec-fetch-site", "").lower() == "cross-site"
            reading = scope.get("method") in _READING and not scope["path"].startswith(_READING_CHANGES)
            if foreign and not reading and not self._lets_in(Headers(scope=scope).get("origin", "")):
                raise ApiError(403, "A page of another site may not do this.")
        await self.app(scope, receive, send)

    def _lets_in(self, origin: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        return self._regex is not None and self._regex.fullmatch(origin) is not None
