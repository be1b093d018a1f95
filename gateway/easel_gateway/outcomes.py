"""Results that the gateway itself writes: for tasks that no worker will ever finish."""

from __future__ import annotations

from easel_contract.results import CANCELLED_STATUS, Outcome, error_result
from easel_queue import Task


def cancelled() -> Outcome:
    """Of a task that was cancelled before it could be done."""
    return error_result(code=CANCELLED_STATUS, kind="Cancelled", message="The task was cancelled.")


def worker_died(task: Task) -> tuple[Outcome, str]:
    """Of a task whose last allowed delivery ended with a dead worker; and the reason, for the dead letter."""
    reason = task.last_error or "its worker stopped answering"
    text = f"Given up after {task.deliveries} deliveries: {reason}"
    return error_result(code=500, kind="WorkerDied", message=text), text
