"""Results that the gateway itself writes: for tasks that no worker will ever finish."""

from __future__ import annotations

from easel_contract.results import CANCELLED_STATUS, Outcome, error_result
from easel_queue import Task


def cancelled() -> Outcome:
    """Of a task that was cancelled before it could be done."""
    return error_result(code=CANCELLED_STATUS, kind="Cancelled", message="The task was cancelled.")


EVICTED_STATUS = 503
"""Of an evicted task: what its put would have been answered, had the queue refused it."""


def evicted() -> Outcome:
    """Of a waiting task that had to go because the queue was full."""
    return error_result(
        code=EVICTED_STATUS,
        kind="Evicted",
        message="The queue was full, and this task, the oldest that waited, was dropped to make room.",
    )


def worker_died(task: Task) -> tuple[Outcome, str]:
    """Of a task whose last allowed delivery ended with a dead worker, or with one that took too long; and the
    reason, for the dead letter."""
    reason = task.last_error or "its worker stopped answering"
    text = f"Given up after {task.deliveries} deliveries: {reason}"
    return error_result(code=500, kind="WorkerDied", message=text), text
