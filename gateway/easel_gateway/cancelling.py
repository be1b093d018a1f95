"""Cancelling one task by its request id."""

from __future__ import annotations

import logging

from easel_gateway.gateway import Gateway
from easel_gateway.outcomes import cancelled
from easel_queue import CancelOutcome, QueueError, QueueUnavailableError

_log = logging.getLogger(__name__)


async def cancel_task(gateway: Gateway, request_id: str) -> CancelOutcome:
    """End the task if it waits, ask its worker to stop if it runs; no other task is touched."""
    outcome = cancelled()
    return await gateway.queue.run(
        gateway.queue.tasks.cancel(request_id=request_id, data=outcome.data, tags=outcome.tags)
    )


async def abandon_task(gateway: Gateway, request_id: str) -> None:
    """Cancel the task of a caller that is gone. Nobody is left to hear of a failure, so it is logged."""
    try:
        await cancel_task(gateway, request_id)
    except (QueueError, QueueUnavailableError) as error:
        _log.warning("task %s of a caller that hung up was not cancelled: %s", request_id, error)
