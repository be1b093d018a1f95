"""Idempotency keys: a put or call that is sent again under its key happens once.

The key is the header ``Idempotency-Key`` or, on the A1111 addresses, the body's ``force_task_id``; the header
wins. It belongs to the user (the token's name) and the queue. The fingerprint covers path, tags and body,
so that another request under a used key is refused (422, as Stripe does) and not answered with another
request's picture.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping

from starlette.requests import Request

from easel_gateway.edge.guards import header
from easel_gateway.errors import ApiError
from easel_gateway.gateway import user_of
from easel_queue import Once

HEADER = "Idempotency-Key"
_HEADER = HEADER.lower().encode()
FIELD = "force_task_id"
MAX_LENGTH = 255
"""Stripe's limit."""

_SANE = re.compile(rf"[\x21-\x7e]{{1,{MAX_LENGTH}}}\Z")
_LARGE = 1024 * 1024
"""Hashing more than this many bytes (about a millisecond) is done on a thread, so that nobody else waits."""


async def once_of(
    request: Request,
    body: bytes,
    *,
    path: str,
    tags: Mapping[str, str] | None = None,
    field: str | None = None,
) -> Once | None:
    """The request's idempotency key, or None when it has none.

    Args:
        path: What the request is for.
        tags: The tags that it puts.
        field: The body's ``force_task_id``; empty is as good as absent.

    Raises:
        ApiError: 400 when the key is empty, too long or has other characters; names the header or the field.
    """
    shown = header(request.scope, _HEADER)
    name, key = (HEADER, shown) if shown is not None else (FIELD, field or None)
    if key is None:
        return None
    if not _SANE.match(key):
        raise ApiError(400, f"{name}: use 1 to {MAX_LENGTH} printable ASCII characters without spaces")
    kind = json.dumps([path, sorted((tags or {}).items())]).encode()
    if len(body) > _LARGE:
        fingerprint = await asyncio.to_thread(_fingerprint, kind, body)
    else:
        fingerprint = _fingerprint(kind, body)
    return Once(user_of(request), key, fingerprint)


def _fingerprint(kind: bytes, body: bytes) -> str:
    return hashlib.sha256(len(kind).to_bytes(8, "big") + kind + body).hexdigest()
