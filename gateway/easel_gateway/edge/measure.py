"""Counting requests for /metrics."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from easel_contract.results import CANCELLED_STATUS
from easel_gateway.ops.metrics import Metrics


class MeasureMiddleware:
    """Count each HTTP request by route template, method and status, and time it.

    The template, not the path, is the label: paths carry ids and would grow the set without end.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = CANCELLED_STATUS  # unless it is answered: its client has gone

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            template = getattr(scope.get("route"), "path", "unknown")
            self._metrics.observe(str(template), scope["method"], status, time.perf_counter() - started)
