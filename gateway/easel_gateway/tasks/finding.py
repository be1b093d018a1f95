"""A task by any of the ids that its sender knows."""

from __future__ import annotations

from starlette.requests import Request

from easel_gateway.gateway import gateway_of, user_of
from easel_gateway.sharing import own_tasks
from easel_queue import Found

MAX_NAME_CHARS = 512
"""Nothing longer is remembered."""


async def find_own(request: Request, name: str) -> Found | None:
    """The caller's task of this name: its request id, its `force_task_id` (or other idempotency key), or the
    ``id_task`` of its request. None for one that is not known, or another user's."""
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        return None
    gateway = gateway_of(request)
    found = await gateway.queue.run(gateway.queue.tasks.find(name, user=user_of(request)))
    if found is None or (found.user is not None and not own_tasks(request).covers(found.user)):
        return None
    return found
