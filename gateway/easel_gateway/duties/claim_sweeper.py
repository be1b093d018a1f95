"""The claim sweeper: large bodies leave the store after their items."""

from __future__ import annotations

import logging
import time

from easel_claims import AsyncClaims
from easel_gateway.duties.duty import Duty

_log = logging.getLogger(__name__)

BATCH = 100
BRING_S = 3600.0
"""Who takes longer to bring a body has died. A put that comes later all the same is told to begin again."""


class ClaimSweeper(Duty):
    """Deletes the bodies of removed items, `grace_s` seconds later, and those that were brought in vain."""

    def __init__(self, claims: AsyncClaims, *, interval_s: float, grace_s: float) -> None:
        super().__init__(interval_s)
        self._claims = claims
        self._grace_ms = int(grace_s * 1000)
        self._tidied = float("-inf")

    async def round(self) -> None:
        """Delete what is due. Comes back at once when a full batch was found, since there may be more."""
        if time.monotonic() - self._tidied >= BRING_S:
            self._tidied = time.monotonic()
            if removed := await self._claims.tidy(BRING_S):
                _log.warning("%d half-written bodies of vanished processes are removed", removed)
        bring_ms = int(BRING_S * 1000)
        while await self._claims.sweep(grace_ms=self._grace_ms, bring_ms=bring_ms, limit=BATCH) == BATCH:
            continue
