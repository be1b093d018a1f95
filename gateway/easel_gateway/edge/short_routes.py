"""The busiest routes, served without asking the router."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from easel_gateway.edge.raw_route import RawRoute


class ShortRoutesMiddleware:
    """Hand requests of some raw routes to their handlers, everything else to the router behind.

    A raw route's handler needs nothing of what FastAPI does on the way to it (exit stacks for dependencies,
    handlers of HTTPException, asking each router in turn), which takes longer than all our own middleware.
    The routes stay with the router too: the OpenAPI is made from them, and it refuses other methods.

    Args:
        routes: Those of them that are raw routes. The first that fits is taken, so they must come first in
            the router as well, and in the same order.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._routes: defaultdict[str, list[tuple[re.Pattern[str], RawRoute]]] = defaultdict(list)
        for route in routes:
            if isinstance(route, RawRoute):
                if set(route.param_convertors) - {"rest"}:
                    raise ValueError(f"{route.path}: a short route has no parameter but {{rest:path}}")
                for method in route.methods or ():
                    self._routes[method].append((route.path_regex, route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for pattern, route in self._routes.get(scope["method"], ()):
                found = pattern.match(scope["path"])
                if found:
                    scope["route"], scope["endpoint"] = route, route.endpoint
                    scope["path_params"] = found.groupdict()
                    response = await route.endpoint(Request(scope, receive, send))
                    await response(scope, receive, send)
                    return
        await self.app(scope, receive, send)
