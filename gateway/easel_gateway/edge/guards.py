"""What is decided from a request's head alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

Guard: TypeAlias = Callable[[Scope], None]
"""Looks at the head of an HTTP request or WebSocket, may write into it, and raises ApiError to refuse it."""


class GuardsMiddleware:
    """Ask the guards, one after the other, before the application. One middleware for all of them: each is a
    few microseconds, and a middleware of its own would cost as much again."""

    def __init__(self, app: ASGIApp, guards: Sequence[Guard]) -> None:
        self.app = app
        self._guards = tuple(guards)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            for guard in self._guards:
                guard(scope)
        await self.app(scope, receive, send)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that name (in lower case), or None. `starlette.datastructures.Headers` answers the
    same and costs several times as much, most where there is none: it raises an error inside."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
