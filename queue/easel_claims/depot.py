"""The store's side of a claim: where its body lies. All calls block."""

from __future__ import annotations

import uuid
from dataclasses import replace

from easel_queue import Claim
from easel_store import NotFoundError, Store

CONTENT_TYPE = "application/octet-stream"


class ClaimMissingError(Exception):
    """The body of an item is not in the store: somebody deleted it, or this process uses another store than
    the one that brought it. Asking again does not help."""


class Depot:
    """Bodies of one service, in a store of their own (`easel_store.claims_store`).

    Args:
        threshold: Bodies of more bytes than this become claims; 0 is none. Those that are there already are
            read in any case.
    """

    def __init__(self, store: Store, *, service: str, threshold: int) -> None:
        self._store = store
        self._service = service
        self._threshold = threshold

    def takes(self, data: bytes) -> bool:
        """Whether a body is large enough."""
        return 0 < self._threshold < len(data)

    def new_claim(self, data: bytes) -> Claim:
        """A claim under a name that nobody has used, its body not yet brought."""
        return Claim(f"{self._service}/{uuid.uuid4().hex}", len(data))

    def bring(self, claim: Claim, data: bytes) -> Claim:
        """Store the body; answers the claim that says so. Raises StoreError."""
        self._store.put(claim.name, data, CONTENT_TYPE)
        return replace(claim, brought=True)

    def fetch(self, claim: Claim) -> bytes:
        """The whole body.

        Raises:
            ClaimMissingError: it is not there, or not whole.
            StoreError: storage does not answer; ask again later.
        """
        try:
            data = self._store.get(claim.name)
        except NotFoundError:
            raise ClaimMissingError(
                f"the body ({claim.size} bytes) is missing from the store under {claim.name!r}: it was "
                "deleted there, or this process uses another EASEL_DATA_DIR or S3 bucket than the others"
            ) from None
        if len(data) != claim.size:
            raise ClaimMissingError(
                f"the body is damaged: {len(data)} bytes lie in the store under {claim.name!r}, "
                f"{claim.size} were put"
            )
        return data

    def delete(self, name: str) -> None:
        """Delete a body; one that is not there is no error. Raises StoreError."""
        self._store.delete(name)

    def tidy(self, older_than_s: float) -> int:
        """Remove what processes that died left half-written; how many. Raises StoreError."""
        return self._store.tidy(older_than_s)
