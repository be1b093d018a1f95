"""Noticing that the client has gone while we wait on its behalf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")

CANCEL_AGAIN_S = 0.1
"""How long cancelled work gets to end before it is cancelled again."""


class HangUp:
    """Knows whether the client of one HTTP request, whose body was read, is still there."""

    def __init__(self, gone: asyncio.Task[None]) -> None:
        self._gone = gone

    @property
    def happened(self) -> bool:
        """Whether the client has gone."""
        return self._gone.done()

    async def race(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`, or None as soon as the client goes; `work` is cancelled then."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            while not task.done():
                # Repeated, because redis-py swallows a cancellation that arrives while it connects.
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
            if not task.cancelled():
                task.exception()  # looked at, so that an exception on the way out is not reported as unseen


@asynccontextmanager
async def watch_hang_up(request: Request) -> AsyncIterator[HangUp]:
    """Listen for the client's hang-up while the block runs. The request's body must have been read."""

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.create_task(listen())
    try:
        yield HangUp(gone)
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
