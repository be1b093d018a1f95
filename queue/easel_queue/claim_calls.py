"""Claims: bodies that lie outside Redis, as far as the queue is concerned with them.

A claim is put in two steps. The first call (`Claim.brought` is false) is checked like any other; if all is
well it announces the claim's name and raises ClaimWantedError. The caller then brings the body and calls
again. A name whose caller died is swept after a while, as is one whose item was removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from easel_queue.call import Call, Raw, text
from easel_queue.keys import Keys

GRACE_MS = 60_000
"""How long the body of a removed item stays, for readers who saw the item just before."""

BRING_MS = 3_600_000
"""How long bringing a body may take. An hour is more than any client waits for its put."""


class ClaimCalls:
    """Builds the calls about claims of one service."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._both = (keys.claims_announced, keys.claims_gone)

    def drop(self, name: str) -> Call[bool]:
        """Not needed any more, unless it was accepted: then nothing changes. Tells whether it is dropped."""
        return Call("drop_claim", self._both, (name,), bool)

    def sweep(
        self, *, grace_ms: int = GRACE_MS, bring_ms: int = BRING_MS, limit: int = 100
    ) -> Call[tuple[str, ...]]:
        """Names whose bodies are to be deleted; tell `forget` when that is done.

        A name that is answered here can no longer be put.
        """

        def read(raw: Raw) -> tuple[str, ...]:
            return tuple(text(name) for name in raw)

        return Call("sweep_claims", self._both, (grace_ms, bring_ms, limit), read)

    def forget(self, names: Sequence[str]) -> Call[int]:
        """The bodies behind these are deleted; answers how many were known."""
        return Call("forget_claims", (self.keys.claims_gone,), tuple(names), int)
