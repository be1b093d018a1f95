"""Noticing that the client has gone while we wait on its behalf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


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
            if not task.done():
                task.cancel()
                # The cancellation's own end is awaited so that no exception of it goes unseen.
                await asyncio.gather(task, return_exceptions=True)


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
