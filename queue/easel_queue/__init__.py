"""Easel's queue on Redis: leased tasks in, exactly one result each out, watched in windows and committed."""

from easel_queue.call import Call
from easel_queue.client import AsyncQueue, Queue
from easel_queue.errors import (
    DuplicateWatcherError,
    LeaseLostError,
    QueueError,
    QueueFullError,
    QueueUnavailableError,
    ScriptMismatchError,
    SinkFullError,
    TaskCancelledError,
    WatcherFencedError,
)
from easel_queue.hub import EventHub, Signal, TaskEvents
from easel_queue.keys import INPUT, REAR, SINK, Keys
from easel_queue.model import (
    Attributes,
    CancelOutcome,
    Entry,
    Failed,
    Finished,
    Group,
    Page,
    Placed,
    Reaped,
    Renewal,
    Reply,
    Search,
    State,
    Status,
    Task,
    Watcher,
    Worker,
)
from easel_queue.stream_calls import StreamCalls
from easel_queue.task_calls import TaskCalls

__all__ = [
    "INPUT",
    "REAR",
    "SINK",
    "AsyncQueue",
    "Attributes",
    "Call",
    "CancelOutcome",
    "DuplicateWatcherError",
    "Entry",
    "EventHub",
    "Failed",
    "Finished",
    "Group",
    "Keys",
    "LeaseLostError",
    "Page",
    "Placed",
    "Queue",
    "QueueError",
    "QueueFullError",
    "QueueUnavailableError",
    "Reaped",
    "Renewal",
    "Reply",
    "ScriptMismatchError",
    "Search",
    "Signal",
    "SinkFullError",
    "State",
    "Status",
    "StreamCalls",
    "Task",
    "TaskCalls",
    "TaskCancelledError",
    "TaskEvents",
    "Watcher",
    "WatcherFencedError",
    "Worker",
]
