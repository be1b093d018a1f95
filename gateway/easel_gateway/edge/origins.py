"""Pages of other sites that the operator lets in: CORS."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

EXPOSED = ("X-Request-Id", "X-Process-Time", "Retry-After")
"""Our headers that such a page may read."""


class OriginsMiddleware(CORSMiddleware):
    """Starlette's, with what A1111 allows: any method, any header, credentials."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], regex: str) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_origin_regex=regex or None,
            allow_methods=("*",),
            allow_headers=("*",),
            allow_credentials=True,
            expose_headers=EXPOSED,
        )
