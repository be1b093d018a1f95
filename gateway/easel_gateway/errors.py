"""What goes wrong, as clients see it.

Everything but validation is answered in A1111's envelope
``{"error": class, "detail": text, "body": "", "errors": text}``; validation is FastAPI's 422.
`answer` is the one place that turns an exception into a response.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from easel_contract import results
from easel_contract.controlnet.detect import REFUSED
from easel_contract.errors import ContractError
from easel_queue import (
    DuplicateWatcherError,
    KeyReusedError,
    NotReplicatedError,
    QueueFullError,
    QueueUnavailableError,
    RequestIdTakenError,
    SinkFullError,
    StreamEndedError,
    TooFastError,
    TooLargeError,
    UserFullError,
    WatcherFencedError,
)
from easel_store import StoreError

RETRY_AFTER_S = 2
"""What `Retry-After` says while the queue is full or Redis is away: short, as both usually pass quickly."""


class ApiError(Exception):
    """A refusal with its HTTP status. `detail` is the text a client shows to its user."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        error: str = "HTTPException",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.error = error
        self.headers = dict(headers or {})


def envelope(status: int, *, error: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response in A1111's error shape."""
    content = results.envelope(error, detail)
    return JSONResponse(content, status, headers=dict(headers or {}))


def answer(error: Exception) -> Response | None:
    """The response for an error we know how to explain; None for a bug of ours."""
    retry = {"Retry-After": str(RETRY_AFTER_S)}
    if isinstance(error, ApiError):
        return envelope(error.status, error=error.error, detail=error.detail, headers=error.headers)
    if isinstance(error, ContractError):
        return _refuse_contract(error)
    if isinstance(error, QueueFullError):
        return envelope(
            503, error="QueueFullError", detail="The queue is full; nothing was stored.", headers=retry
        )
    if isinstance(error, UserFullError):
        return envelope(
            429,
            error="UserFullError",
            detail="You have as many waiting tasks as one user may have (EASEL_USER_MAX_WAITING); "
            "nothing was stored.",
            headers=retry,
        )
    if isinstance(error, TooFastError):
        return envelope(
            429,
            error="TooFastError",
            detail="You have sent as many tasks as one user may in a minute (EASEL_USER_TASKS_PER_MINUTE); "
            f"nothing was stored. Try again in {error.retry_s:.1f} s.",
            headers={"Retry-After": str(max(1, math.ceil(error.retry_s)))},
        )
    if isinstance(error, SinkFullError):
        return envelope(
            503,
            error="SinkFullError",
            detail="The sink is full; nothing was stored. Commit, delete or truncate results.",
            headers=retry,
        )
    if isinstance(error, TooLargeError):
        return envelope(
            413,
            error="TooLargeError",
            detail="This is larger than all that the queue may hold (EASEL_*_MAX_BYTES).",
        )
    if isinstance(error, KeyReusedError):
        return envelope(
            422,
            error="KeyReusedError",
            detail="Idempotency-Key (or force_task_id): it was used for another request; choose a new one.",
        )
    if isinstance(error, RequestIdTakenError):
        return envelope(
            409,
            error="RequestIdTakenError",
            detail="X-Request-Id: another task has this id; choose a new one.",
        )
    if isinstance(error, DuplicateWatcherError):
        return envelope(
            409,
            error="DuplicateWatcherError",
            detail="A live watcher of this group already uses this uid; give each watcher its own.",
        )
    if isinstance(error, WatcherFencedError):
        return envelope(
            409, error="WatcherFencedError", detail="Another watcher took this uid over meanwhile."
        )
    if isinstance(error, StreamEndedError):
        return envelope(
            410,
            error="StreamEndedError",
            detail="The stream of this queue has ended: it takes no more items. To open it again, truncate "
            "it beyond stream.lastEntry of its attributes.",
        )
    if isinstance(error, StoreError):
        return envelope(503, error="StoreError", detail="Storage does not answer.", headers=retry)
    if isinstance(error, NotReplicatedError):
        return envelope(
            503,
            error="NotReplicatedError",
            detail="Done, but too few replicas of Redis have confirmed it in time, so it may still be lost "
            "(EASEL_REDIS_WAIT_REPLICAS). Repeat the request; a put under the same Idempotency-Key.",
            headers=retry,
        )
    if isinstance(error, QueueUnavailableError):
        return envelope(503, error="RedisUnavailable", detail="Redis does not answer.", headers=retry)
    return None


async def refuse_route(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, of an unknown path (404) or method (405), in the same shape as ours."""
    if not isinstance(error, HTTPException):
        raise error
    return envelope(error.status_code, error="HTTPException", detail=error.detail, headers=error.headers)


def _refuse_contract(error: ContractError) -> Response:
    if error.status == 422 and error.kind != REFUSED:
        return JSONResponse({"detail": error.detail()}, 422)
    return envelope(error.status, error="HTTPException", detail=str(error))
