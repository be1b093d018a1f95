"""Reading a request body without letting it fill the memory."""

from __future__ import annotations

from starlette.requests import Request

from easel_gateway.edge.guards import header
from easel_gateway.errors import ApiError


async def read_body(request: Request, limit: int, *, setting: str = "EASEL_MAX_BODY_BYTES") -> bytes:
    """The whole body, at most `limit` bytes of it; `setting` is what an operator changes to allow more
    (empty: nothing does).

    Raises:
        ApiError: 413 when it is larger; a body that says its size is refused before it is read.
        ClientDisconnect: the client went away before the end.
    """
    announced = header(request.scope, b"content-length") or ""
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit, setting)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit, setting)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int, setting: str) -> ApiError:
    named = f" ({setting})" if setting else ""
    return ApiError(413, f"The body is larger than {limit} bytes{named}.", headers={"Connection": "close"})
