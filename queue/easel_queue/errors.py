"""Every error the queue raises.

    QueueError
    ├── QueueFullError        put: the input queue is at its limit; nothing was stored. Retry later.
    ├── SinkFullError         put with a direct reply while nobody drains the sink. Retry later.
    ├── ClaimWantedError      put, finish, fail with a claim: all is well so far. Bring the body, call again.
    ├── ClaimLostError        the same, too late: the body was swept away. Begin again under a new name.
    ├── TooLargeError         put: larger than the whole queue may be. Never send it again.
    ├── UserFullError         put: this user has as many waiting tasks as allowed. Retry later.
    ├── TooFastError          put: this user has put as many as allowed in a minute. Retry after `retry_s`.
    ├── KeyReusedError        put: the idempotency key belongs to another request. Choose a new one.
    ├── RequestIdTakenError   put, requeue: the request id is another task's. Nothing changed.
    ├── LeaseLostError        start/extend/progress/finish/fail/release: the caller no longer holds the task.
    │                         Stop working on it and drop the result; somebody else has it.
    ├── TaskCancelledError    start: the task was cancelled while it was prefetched. Drop it.
    ├── StreamEndedError      put: the queue's stream was ended; nothing was stored. deliver: all of it was
    │                         consumed. Close the socket; an operator may open the queue again.
    ├── DuplicateWatcherError join: a live watcher has this group and uid. Refuse the new one.
    ├── WatcherFencedError    deliver: another connection took this uid over. Close the socket.
    └── ScriptMismatchError   start-up: a script and its caller disagree on the number of keys. A bug.
    QueueUnavailableError     any call: Redis does not answer, or refuses for now. Try again later. Not a
    │                         QueueError: it says nothing about the task.
    └── NotReplicatedError    a durable call: done on the master, but too few replicas said so in time. Try
                              again: a repetition waits for the replicas and does nothing twice.

Scripts answer small negative integers; `raise_for` is the one place that gives them a type.
"""

from __future__ import annotations


class QueueError(Exception):
    """Base of everything the queue raises on purpose."""


class QueueFullError(QueueError):
    """The input queue holds as many tasks as it may. Nothing was stored; the client should retry later."""


class SinkFullError(QueueError):
    """The sink holds as many results as it may: no worker takes tasks until somebody commits."""


class ClaimWantedError(QueueError):
    """The call would be accepted; the body behind its claim must be there first."""


class ClaimLostError(QueueError):
    """The claim was announced too long ago: its body is, or will be, deleted."""


class TooLargeError(QueueError):
    """The item alone is larger than the queue's limit of bytes."""


class UserFullError(QueueError):
    """The user has as many waiting tasks as one user may have. Nothing was stored."""


class TooFastError(QueueError):
    """The user has put as many tasks within a minute as one user may. Nothing was stored."""

    def __init__(self, what: str, retry_s: float) -> None:
        super().__init__(what)
        self.retry_s = retry_s
        """After how many seconds the put would be accepted."""


class KeyReusedError(QueueError):
    """The idempotency key was used before, with a different request."""


class RequestIdTakenError(QueueError):
    """Another task has this request id."""


class LeaseLostError(QueueError):
    """The lease's token is not the task's current one: it expired, or the task is gone."""


class TaskCancelledError(QueueError):
    """The task was cancelled before it was started."""


class StreamEndedError(QueueError):
    """The queue's stream was ended: it takes no puts, and this watcher has had everything."""


class DuplicateWatcherError(QueueError):
    """A live watcher already uses this group and uid."""


class WatcherFencedError(QueueError):
    """Another connection has taken over this group and uid."""


class ScriptMismatchError(QueueError):
    """A Lua file's KEYS count and the caller's keys differ."""


class QueueUnavailableError(Exception):
    """Redis cannot be reached or cannot serve now (restarting, failing over, out of memory, disk full)."""


class NotReplicatedError(QueueUnavailableError):
    """The master has done it; fewer replicas than asked for have confirmed it, so a failover may lose it."""


_BY_CODE: dict[int, type[QueueError]] = {
    -1: LeaseLostError,
    -2: QueueFullError,
    -3: SinkFullError,
    -4: TaskCancelledError,
    -5: DuplicateWatcherError,
    -6: WatcherFencedError,
    -7: StreamEndedError,
    -10: KeyReusedError,
    -11: RequestIdTakenError,
    -12: TooLargeError,
    -13: ClaimWantedError,
    -14: ClaimLostError,
    -15: UserFullError,
}


def raise_for(code: int, what: str) -> None:
    """Raise the typed error for a script's negative answer; do nothing for any other number."""
    if code < 0:
        raise _BY_CODE.get(code, QueueError)(what)
