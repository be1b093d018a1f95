"""Readiness probes come often; writing to storage for each of them would be a load of its own."""

from __future__ import annotations

import asyncio
import time

from easel_store import Store, StoreError

KEEP_S = 10.0
"""How long one answer of the store is passed on."""


class StoreProbe:
    """Checks the store at most every `KEEP_S` seconds; everybody who asks meanwhile shares the answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._problem: StoreError | None = None

    async def check(self) -> None:
        """Raise StoreError if the store did not work when it was last tried."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= KEEP_S:
                self._problem = await asyncio.to_thread(self._try)
                self._checked_at = time.monotonic()
        if self._problem is not None:
            raise self._problem

    def _try(self) -> StoreError | None:
        try:
            self._store.check()
        except StoreError as error:
            return error
        return None
