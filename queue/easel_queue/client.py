"""Sending calls to Redis: `Queue` from threads, `AsyncQueue` from an event loop.

Both ride through a Redis restart for calls that may be repeated. For the others, and when Redis stays away,
they raise `QueueUnavailableError`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, TypeAlias, TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
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
from redis.retry import Retry

from easel_queue.batching import Batcher, may_share
from easel_queue.call import Call, Raw, text
from easel_queue.claim_calls import ClaimCalls
from easel_queue.dead_calls import DeadCalls
from easel_queue.errors import QueueError, QueueUnavailableError
from easel_queue.keys import INPUT, REAR, SINK, Keys
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
    TryAgainError,
    OutOfMemoryError,
)
"""redis-py's errors that pass by themselves or by an operator's hand, and say nothing about the call."""

_AWAY_REPLIES = re.compile(r"(?:^|: -)(?:OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|BUSY) ")
"""Replies that pass too and have no class: a full disk, missing replicas, a script that hangs. Redis before 7
quotes any of them behind "ERR Error running script …: -" when they hit a command inside a script."""


_CLOSED = "the handler is closed"
"""The end of uvloop's RuntimeError about a write to a connection that the peer has reset; asyncio's own loops
raise an OSError there, which redis-py knows."""


@contextmanager
def _typed() -> Iterator[None]:
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


SOCKET_TIMEOUT_S = 10.0
"""A script takes well under a millisecond; ten seconds without an answer is a hung or cut-off server."""

PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Between repetitions of a call: 1.5 s in all, enough for a server that restarts on the same machine."""

Clock = Callable[[], int]
"""Milliseconds since the epoch; tests inject one. Without it the server's own clock counts."""


class _Again(Enum):
    """Of one of several calls: it has no answer yet."""

    SEND = auto()


class _Base:
    def __init__(self, service: str, clock: Clock | None) -> None:
        self.keys = Keys(service)
        self.tasks = TaskCalls(self.keys)
        self.source = StreamCalls(self.keys, INPUT)
        self.sink = StreamCalls(self.keys, SINK)
        self.rear = StreamCalls(self.keys, REAR)
        self.dead = DeadCalls(self.keys)
        self.claims = ClaimCalls(self.keys)
        self._clock = clock
        self._scripts = load_scripts()

    def _command(self, call: Call[Any]) -> tuple[str, tuple[Any, ...]]:
        """The script's SHA and the arguments behind it, the KEYS count checked."""
        script = self._scripts[call.script]
        script.check(len(call.keys))
        now = self._clock() if self._clock else 0
        return script.sha, (len(call.keys), *call.keys, self.keys.root, now, *call.args)

    def _pauses(self, call: Call[Any]) -> Iterator[float]:
        return iter(PAUSES_S if call.repeatable else ())

    def _settle(self, call: Call[T], raw: Raw) -> Answer[T] | _Again:
        """The answer to one of several calls, or that it has to be sent again, alone."""
        if isinstance(raw, NoScriptError):
            return _Again.SEND
        try:
            with _typed():
                if isinstance(raw, Exception):
                    raise raw
                return call.read(raw)
        except QueueError as error:
            return error
        except QueueUnavailableError as error:
            return _Again.SEND if call.repeatable else error


class Queue(_Base):
    """The queue for threads. Thread-safe; each thread in a call uses its own pooled connection."""

    def __init__(self, url: str, *, service: str = "easel", clock: Clock | None = None) -> None:
        super().__init__(service, clock)
        self._redis = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),  # repetition is decided per call, here
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
        )

    def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        sha, args = self._command(call)
        pauses = self._pauses(call)
        while True:
            try:
                with _typed():
                    raw = self._send(call.script, sha, args)
                return call.read(raw)
            except QueueUnavailableError:
                pause = next(pauses, None)
                if pause is None:
                    raise
                time.sleep(pause)

    def run_many(self, calls: Sequence[Call[T]]) -> list[Answer[T]]:
        """Send several calls in one round trip; the answers come in their order.

        Each call is a step of its own: others may come between, and one that fails stops none behind it, so
        its error stands in its place instead of being raised. A call that Redis did not carry out (its
        script was unknown), or that may be repeated after a broken connection, is sent again behind the rest.
        """
        pipeline = self._redis.pipeline(transaction=False)
        add: Callable[..., Any] = pipeline.execute_command
        for call in calls:
            sha, args = self._command(call)
            add("EVALSHA", sha, *args)
        try:
            raws: Sequence[Raw] = pipeline.execute(raise_on_error=False)
        except _AWAY as error:
            raws = [error] * len(calls)
        answers: list[Answer[T]] = []
        away: QueueUnavailableError | None = None
        for call, raw in zip(calls, raws, strict=True):
            settled = self._settle(call, raw)
            if settled is not _Again.SEND:
                answers.append(settled)
            elif away is not None:
                answers.append(away)  # it was waited for once; the others need not
            else:
                try:
                    answers.append(self.run(call))
                except QueueError as error:
                    answers.append(error)
                except QueueUnavailableError as error:
                    away = error
                    answers.append(away)
        return answers

    def _send(self, script: str, sha: str, args: tuple[Any, ...]) -> Raw:
        send: Callable[..., Raw] = self._redis.execute_command
        try:
            return send("EVALSHA", sha, *args)
        except NoScriptError:
            return send("EVAL", self._scripts[script].source, *args)

    def wait_bell(self, timeout_s: float) -> bool:
        """Wait until a task may be there (True) or the time is over. May ring for nothing."""
        with _typed():
            return self._redis.blpop([self.keys.bell], timeout=_block(timeout_s)) is not None

    def wait_inbox(self, worker: str, timeout_s: float) -> str | None:
        """The next message for a worker (``cancel <index>``), or None."""
        with _typed():
            message = self._redis.blpop([self.keys.inbox(worker)], timeout=_block(timeout_s))
        return text(message[1]) if message else None

    def ping(self) -> None:
        """Raise QueueUnavailableError unless Redis answers."""
        with _typed():
            self._redis.ping()

    def info(self) -> dict[str, Any]:
        """Redis's INFO. Raises QueueUnavailableError."""
        with _typed():
            return dict(self._redis.info())

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


class AsyncQueue(_Base):
    """The queue for one event loop."""

    def __init__(
        self, url: str, *, service: str = "easel", clock: Clock | None = None, max_connections: int = 64
    ) -> None:
        super().__init__(service, clock)
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=SOCKET_TIMEOUT_S,  # how long a call waits for a free connection
            retry=AsyncRetry(NoBackoff(), 0),
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._batcher = Batcher(self._redis)

    async def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        sha, args = self._command(call)
        pauses = self._pauses(call)
        while True:
            try:
                with _typed():
                    raw = await self._send(call, sha, args)
                return call.read(raw)
            except QueueUnavailableError:
                pause = next(pauses, None)
                if pause is None:
                    raise
                await asyncio.sleep(pause)

    async def run_many(self, calls: Sequence[Call[T]]) -> list[Answer[T]]:
        """Send several calls in one round trip, as `Queue.run_many` does."""
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            sha, args = self._command(call)
            pipeline.execute_command("EVALSHA", sha, *args)
        try:
            raws: Sequence[Raw] = await pipeline.execute(raise_on_error=False)
        except _AWAY as error:
            raws = [error] * len(calls)
        answers: list[Answer[T]] = []
        away: QueueUnavailableError | None = None
        for call, raw in zip(calls, raws, strict=True):
            settled = self._settle(call, raw)
            if settled is not _Again.SEND:
                answers.append(settled)
            elif away is not None:
                answers.append(away)  # it was waited for once; the others need not
            else:
                try:
                    answer: T = await self.run(call)
                    answers.append(answer)
                except QueueError as error:
                    answers.append(error)
                except QueueUnavailableError as error:
                    away = error
                    answers.append(away)
        return answers

    async def _send(self, call: Call[Any], sha: str, args: tuple[Any, ...]) -> Raw:
        alone: Callable[..., Awaitable[Raw]] = self._redis.execute_command
        send = self._batcher.send if may_share(call) else alone
        try:
            return await send("EVALSHA", sha, *args)
        except NoScriptError:
            return await alone("EVAL", self._scripts[call.script].source, *args)

    def pubsub(self) -> redis.asyncio.client.PubSub:
        """A subscription of this service's Redis; `EventHub` is its only user."""
        return self._redis.pubsub(ignore_subscribe_messages=False)

    async def ping(self) -> None:
        """Raise QueueUnavailableError unless Redis answers."""
        with _typed():
            await self._redis.ping()

    async def info(self) -> dict[str, Any]:
        """Redis's INFO. Raises QueueUnavailableError."""
        with _typed():
            return dict(await self._redis.info())

    async def close(self) -> None:
        """Close all connections."""
        await self._batcher.close()
        await self._redis.aclose()


def _block(timeout_s: float) -> float:
    # 0 would block for ever, and the socket's time-out would turn a longer wait into an error.
    return min(max(timeout_s, 0.01), SOCKET_TIMEOUT_S / 2)
