"""The bodies of items, wherever they lie: what the queue answers, made whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from easel_claims import AsyncClaims, ClaimMissingError
from easel_contract.results import error_result
from easel_queue import Entry

MISSING_STATUS = 500


async def whole(claims: AsyncClaims, entries: Sequence[Entry]) -> list[Entry]:
    """The same items, in order, with their bodies fetched.

    An item whose body is missing from the store becomes an error that says so: the body of a failed result,
    the tag ``lastCode`` and the frame's message. So a consumer sees it, and can commit it like any other.

    Raises:
        StoreError: storage does not answer.
    """
    if all(entry.claim is None for entry in entries):
        return list(entries)
    return list(await asyncio.gather(*(whole_one(claims, entry) for entry in entries)))


async def whole_one(claims: AsyncClaims, entry: Entry) -> Entry:
    """One item; see `whole`."""
    if entry.claim is None:
        return entry
    try:
        return replace(entry, data=await claims.fetch(entry.claim), claim=None)
    except ClaimMissingError as error:
        failed = error_result(code=MISSING_STATUS, kind=type(error).__name__, message=str(error))
        tags = {**entry.tags, **failed.tags}
        return replace(entry, data=failed.data, tags=tags, last_error=str(error), claim=None)
