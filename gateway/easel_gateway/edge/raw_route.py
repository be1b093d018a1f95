"""Routes whose handlers read the request and make the response themselves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class RawRoute(APIRoute):
    """FastAPI's route without what such a handler does not use: dependencies, parsed bodies, response models.

    That is about a tenth of the time of a put. The handler's only parameter is the request; what it reads and
    answers is declared for the OpenAPI schema by hand.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler
