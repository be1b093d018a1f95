"""The claim check: large bodies lie in the store, the queue carries their names."""

from __future__ import annotations

from easel_claims.depot import ClaimMissingError, Depot
from easel_claims.looped import AsyncClaims
from easel_claims.threaded import Claims

__all__ = ["AsyncClaims", "ClaimMissingError", "Claims", "Depot"]
