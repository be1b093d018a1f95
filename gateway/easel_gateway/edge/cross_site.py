"""Keeping foreign web pages from using an open Easel through their visitor's browser."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.types import Scope

from easel_gateway.edge.guards import header
from easel_gateway.errors import ApiError

_READING = {"GET", "HEAD", "OPTIONS"}
_READING_CHANGES = "/api/predict/"
"""The EAS get removes what it reads, so there even a foreign image tag would do harm."""


class CrossSite:
    """Refuse what a browser sends on behalf of another site, except plain reading.

    Any page may make its visitor's browser post to ``http://127.0.0.1:8000``, and the browser adds a password
    it remembers. Browsers mark such requests with ``Sec-Fetch-Site: cross-site`` (W3C Fetch Metadata);
    programs do not send the header. Origins that the operator lets in are no strangers.

    Raises:
        ApiError: 403.
    """

    def __init__(self, origins: Sequence[str] = (), regex: str = "") -> None:
        self._origins = frozenset(origins)
        self._regex = re.compile(regex) if regex else None

    def __call__(self, scope: Scope) -> None:
        """The guard."""
        if (header(scope, b"sec-fetch-site") or "").lower() != "cross-site":
            return
        reading = scope.get("method") in _READING and not scope["path"].startswith(_READING_CHANGES)
        if not reading and not self._lets_in(header(scope, b"origin") or ""):
            raise ApiError(403, "A page of another site may not do this.")

    def _lets_in(self, origin: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        return self._regex is not None and self._regex.fullmatch(origin) is not None
