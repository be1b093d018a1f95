"""Keeping foreign web pages from using an open Easel through their visitor's browser."""

from __future__ import annotations

from starlette.types import Scope

from easel_gateway.edge.guards import header
from easel_gateway.errors import ApiError

_READING = {"GET", "HEAD", "OPTIONS"}
_READING_CHANGES = "/api/predict/"
"""The EAS get removes what it reads, so there even a foreign image tag would do harm."""


def refuse_cross_site(scope: Scope) -> None:
    """Refuse what a browser sends on behalf of another site, except plain reading.

    Any page may make its visitor's browser post to ``http://127.0.0.1:8000``, and the browser adds a password
    it remembers. Browsers mark such requests with ``Sec-Fetch-Site: cross-site`` (W3C Fetch Metadata);
    programs do not send the header.

    Raises:
        ApiError: 403.
    """
    if (header(scope, b"sec-fetch-site") or "").lower() != "cross-site":
        return
    reading = scope.get("method") in _READING and not scope["path"].startswith(_READING_CHANGES)
    if not reading:
        raise ApiError(403, "A page of another site may not do this.")
