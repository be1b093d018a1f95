"""Claims for an event loop: the gateway's side. The store's blocking calls run on threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from easel_claims.depot import Depot
from easel_queue import (
    AsyncQueue,
    Body,
    Call,
    Claim,
    ClaimLostError,
    ClaimWantedError,
    QueueUnavailableError,
)
from easel_store import StoreError

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
"""Bodies on their way at once in one process. What more there are wait, so that a slow store cannot take the
threads, or the memory, of everybody else."""


class AsyncClaims:
    """Sends bodies with calls, and fetches them. For one event loop."""

    def __init__(self, depot: Depot, queue: AsyncQueue) -> None:
        self._depot = depot
        self._queue = queue
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="easel-claims")
        self._settling: set[asyncio.Task[None]] = set()

    async def run(self, data: bytes, build: Callable[[Body], Call[T]]) -> T:
        """Send the call that `build` makes of a body: the bytes themselves, or a claim if they are many.

        Raises:
            StoreError: the body could not be stored; nothing was put.
            What the call raises, but for ClaimWantedError and ClaimLostError.
        """
        if not self._depot.takes(data):
            return await self._queue.run(build(data))
        while True:
            claim = self._depot.new_claim(data)
            try:
                return await self._bring(claim, data, build)
            except ClaimLostError:
                _log.warning("a body of %d bytes took too long to store; it is stored again", claim.size)
                with contextlib.suppress(StoreError):
                    await self._blocking(self._depot.delete, claim.name)

    async def _bring(self, claim: Claim, data: bytes, build: Callable[[Body], Call[T]]) -> T:
        with contextlib.suppress(ClaimWantedError):
            return await self._queue.run(build(claim))
        bringing = asyncio.ensure_future(self._blocking(self._depot.bring, claim, data))
        try:
            # Shielded: a thread cannot be cancelled, and its file must not come after the deletion.
            return await self._queue.run(build(await asyncio.shield(bringing)))
        finally:
            settling = asyncio.create_task(self._settle(claim, bringing))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)

    async def _settle(self, claim: Claim, bringing: asyncio.Future[Claim]) -> None:
        """Have the body deleted if the put was refused, or accepted without it; else this changes nothing."""
        await asyncio.wait({bringing})
        if not bringing.cancelled():
            bringing.exception()  # whoever waited for it has seen it
        try:
            await self._queue.run(self._queue.claims.drop(claim.name))
        except QueueUnavailableError as error:
            _log.warning("claim %s is left to the sweep: %s", claim.name, error)

    async def fetch(self, claim: Claim) -> bytes:
        """The whole body. Raises as `Depot.fetch` does."""
        return await self._blocking(self._depot.fetch, claim)

    async def sweep(self, *, grace_ms: int, bring_ms: int, limit: int) -> int:
        """Delete bodies that nothing refers to any more, at most `limit`; how many.

        Raises:
            StoreError: some could not be deleted; they are tried again the next time.
        """
        calls = self._queue.claims
        names = await self._queue.run(calls.sweep(grace_ms=grace_ms, bring_ms=bring_ms, limit=limit))
        outcomes = await asyncio.gather(
            *(self._blocking(self._depot.delete, name) for name in names), return_exceptions=True
        )
        deleted = _deleted(names, outcomes)
        if deleted:
            await self._queue.run(calls.forget(deleted))
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return len(deleted)

    async def tidy(self, older_than_s: float) -> int:
        """Remove what processes that died left half-written; how many. Raises StoreError."""
        return await self._blocking(self._depot.tidy, older_than_s)

    async def close(self) -> None:
        """Wait for what is on its way to be settled, and let the threads go."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=1.0)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _blocking(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))


def _deleted(names: Sequence[str], outcomes: Sequence[BaseException | None]) -> list[str]:
    return [name for name, outcome in zip(names, outcomes, strict=True) if outcome is None]
