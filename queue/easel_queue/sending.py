"""What threads and event loops have in common when they send calls: the commands, and what replies mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from easel_queue.call import Call, Raw
from easel_queue.claim_calls import ClaimCalls
from easel_queue.dead_calls import DeadCalls
from easel_queue.errors import NotReplicatedError, QueueError, QueueUnavailableError
from easel_queue.keys import INPUT, REAR, SINK, Keys
from easel_queue.options_calls import OptionsCalls
from easel_queue.promotion import Greeting
from easel_queue.record_calls import RecordCalls
from easel_queue.scripts import load_scripts
from easel_queue.stream_calls import StreamCalls
from easel_queue.task_calls import TaskCalls

T = TypeVar("T")
Answer: TypeAlias = T | QueueError | QueueUnavailableError
"""What became of one of several calls: what `run` would have returned or raised."""

_AWAY = (
    RedisConnectionError,  # also "loading the dataset"
    RedisTimeoutError,
    ReadOnlyError,
    ClusterDownError,
    MasterDownError,
    AskError,  # also "moved": an address of one server that turned out to be a cluster's node
    TryAgainError,
    OutOfMemoryError,
)
"""redis-py's errors that pass by themselves or by an operator's hand, and say nothing about the call."""

_AWAY_REPLIES = re.compile(
    r"(?:^|: -)(?:OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|BUSY) |non local key"
)
"""Replies that pass too and have no class: a full disk, missing replicas, a script that hangs, a slot that is
being moved key by key. Redis before 7 quotes any of them behind "ERR Error running script …: -" when they hit
a command inside a script."""


_CLOSED = "the handler is closed"
"""The end of uvloop's RuntimeError about a write to a connection that the peer has reset; asyncio's own loops
raise an OSError there, which redis-py knows."""


@contextmanager
def typed() -> Iterator[None]:
    """redis-py's errors as `QueueUnavailableError`, where they mean that."""
    try:
        yield
    except _AWAY as error:
        raise QueueUnavailableError(f"{type(error).__name__}: {error}") from error
    except ResponseError as error:
        if _AWAY_REPLIES.search(str(error)):
            raise QueueUnavailableError(str(error)) from error
        raise
    except RuntimeError as error:
        if str(error).endswith(_CLOSED):
            raise QueueUnavailableError(f"connection reset: {error}") from error
        raise


PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Between repetitions of a call: 1.5 s in all, enough for a server that restarts on the same machine."""

Clock = Callable[[], int]
"""Milliseconds since the epoch; tests inject one. Without it the server's own clock counts."""


class Again(Enum):
    """Of one of several calls: it has no answer yet."""

    SEND = auto()


Send = tuple[Any, ...]
"""One command: its name and arguments."""


class Sender:
    """The calls of one service as commands, and their replies as answers; who sends them is a subclass."""

    def __init__(self, service: str, clock: Clock | None, wait_replicas: int, wait_ms: int) -> None:
        self.keys = Keys(service)
        self.tasks = TaskCalls(self.keys)
        self.source = StreamCalls(self.keys, INPUT)
        self.sink = StreamCalls(self.keys, SINK)
        self.rear = StreamCalls(self.keys, REAR)
        self.dead = DeadCalls(self.keys)
        self.claims = ClaimCalls(self.keys)
        self.options = OptionsCalls(self.keys)
        self.records = RecordCalls(self.keys)
        self._clock = clock
        self._wait_replicas = wait_replicas
        self._wait_ms = wait_ms
        self._scripts = load_scripts()
        self._greeting = Greeting(self.keys, self._scripts["skip_numbers"])

    def _command(self, call: Call[Any]) -> tuple[str, tuple[Any, ...]]:
        """The script's SHA and the arguments behind it, the KEYS count checked."""
        script = self._scripts[call.script]
        script.check(len(call.keys))
        now = self._clock() if self._clock else 0
        return script.sha, (len(call.keys), *call.keys, self.keys.root, now, *call.args)

    def _waits(self, call: Call[Any]) -> bool:
        return call.durable and self._wait_replicas > 0

    def _barrier(self) -> tuple[Send, Send]:
        """What is sent behind a durable call, on its connection and in its round trip.

        WAIT waits for the connection's own last write, and a call that is repeated may write nothing: then it
        would not wait for what was written the first time, from another connection. So something is written.
        """
        return ("SET", self.keys.barrier, ""), ("WAIT", self._wait_replicas, self._wait_ms)

    def _confirmed(self, call: Call[Any], replies: list[Any]) -> Raw:
        """The script's answer, if WAIT's is enough. Raises what one of them was refused with."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        answer, _, replicas = replies
        if replicas < self._wait_replicas:
            raise self._not_replicated(call, replicas)
        return answer

    def _not_replicated(self, call: Call[Any], replicas: int) -> NotReplicatedError:
        known = f"{replicas} of {self._wait_replicas} replicas have it after {self._wait_ms} ms"
        return NotReplicatedError(f"{call.script}: {known}")

    def _commands(self, calls: Sequence[Call[Any]]) -> list[Send]:
        """Several calls for one round trip, with one wait for all that are durable."""
        sent = [self._command(call) for call in calls]
        barrier = self._barrier() if any(map(self._waits, calls)) else ()
        return [*(("EVALSHA", sha, *args) for sha, args in sent), *barrier]

    def _confirmed_many(self, calls: Sequence[Call[Any]], replies: list[Raw]) -> Sequence[Raw]:
        """The replies of the calls, an error in the place of each that WAIT's answer is not enough for."""
        answers, rest = replies[: len(calls)], replies[len(calls) :]
        if not rest:
            return answers
        wait = next((reply for reply in rest if isinstance(reply, Exception)), rest[-1])
        if not isinstance(wait, Exception) and wait >= self._wait_replicas:
            return answers
        return [
            answer
            if isinstance(answer, Exception) or not self._waits(call)
            else (wait if isinstance(wait, Exception) else self._not_replicated(call, wait))
            for call, answer in zip(calls, answers, strict=True)
        ]

    def _pause(self, call: Call[Any], error: QueueUnavailableError, tries: int) -> float | None:
        """How long to wait before the call is sent again; None if the caller has to decide."""
        # Replicas that are behind stay so for longer than a retry here is worth; WAIT was patient already.
        if not call.repeatable or isinstance(error, NotReplicatedError) or tries >= len(PAUSES_S):
            return None
        return PAUSES_S[tries]

    def _settle(self, call: Call[T], raw: Raw) -> Answer[T] | Again:
        """The answer to one of several calls, or that it has to be sent again, alone."""
        if isinstance(raw, NoScriptError):
            return Again.SEND
        try:
            with typed():
                if isinstance(raw, Exception):
                    raise raw
                return call.read(raw)
        except QueueError as error:
            return error
        except QueueUnavailableError as error:
            again = call.repeatable and not isinstance(error, NotReplicatedError)
            return Again.SEND if again else error
