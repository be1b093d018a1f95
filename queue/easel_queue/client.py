"""Sending calls to Redis: `Queue` from threads, `AsyncQueue` from an event loop.

Both ride through a Redis restart for calls that may be repeated. For the others, and when Redis stays away,
they raise `QueueUnavailableError`. `connect` says what addresses there are; behind those of Sentinel and of
a Redis Cluster, they follow the master.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
import redis.asyncio
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

from easel_queue.call import Call, Raw, text
from easel_queue.connect import SOCKET_TIMEOUT_S, connect, connect_async
from easel_queue.dead_calls import DeadCalls
from easel_queue.errors import NotReplicatedError, QueueUnavailableError
from easel_queue.keys import INPUT, REAR, SINK, Keys
from easel_queue.promotion import Greeting
from easel_queue.scripts import load_scripts
from easel_queue.stream_calls import StreamCalls
from easel_queue.task_calls import TaskCalls

T = TypeVar("T")

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


PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Between repetitions of a call: 1.5 s in all, enough for a server that restarts on the same machine."""

Clock = Callable[[], int]
"""Milliseconds since the epoch; tests inject one. Without it the server's own clock counts."""


Send = tuple[Any, ...]
"""One command: its name and arguments."""


class _Base:
    def __init__(self, service: str, clock: Clock | None, wait_replicas: int, wait_ms: int) -> None:
        self.keys = Keys(service)
        self.tasks = TaskCalls(self.keys)
        self.source = StreamCalls(self.keys, INPUT)
        self.sink = StreamCalls(self.keys, SINK)
        self.rear = StreamCalls(self.keys, REAR)
        self.dead = DeadCalls(self.keys)
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

    def _and_wait(self, command: Send) -> tuple[Send, Send, Send]:
        """What is sent for a durable call, on one connection and in one round trip.

        WAIT waits for the connection's own last write, and a call that is repeated may write nothing: then it
        would not wait for what was written the first time, from another connection. So something is written.
        """
        return command, ("SET", self.keys.barrier, ""), ("WAIT", self._wait_replicas, self._wait_ms)

    def _confirmed(self, call: Call[Any], replies: list[Any]) -> Raw:
        """The script's answer, if WAIT's is enough. Raises what one of them was refused with."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        answer, _, replicas = replies
        if replicas < self._wait_replicas:
            known = f"{replicas} of {self._wait_replicas} replicas have it after {self._wait_ms} ms"
            raise NotReplicatedError(f"{call.script}: {known}")
        return answer

    def _pause(self, call: Call[Any], error: QueueUnavailableError, tries: int) -> float | None:
        """How long to wait before the call is sent again; None if the caller has to decide."""
        # Replicas that are behind stay so for longer than a retry here is worth; WAIT was patient already.
        if not call.repeatable or isinstance(error, NotReplicatedError) or tries >= len(PAUSES_S):
            return None
        return PAUSES_S[tries]


class Queue(_Base):
    """The queue for threads. Thread-safe; each thread in a call uses its own pooled connection.

    Args:
        url: see `easel_queue.connect`. Raises ValueError for one that cannot be read.
        service: names the keys.
        clock: for tests.
        wait_replicas: How many replicas must have what a durable call wrote before it answers; 0 is none.
        wait_ms: For how long they are waited for; then the call raises NotReplicatedError.
    """

    def __init__(
        self,
        url: str,
        *,
        service: str = "easel",
        clock: Clock | None = None,
        wait_replicas: int = 0,
        wait_ms: int = 1000,
    ) -> None:
        super().__init__(service, clock, wait_replicas, wait_ms)
        self._redis = connect(url, slot=self.keys.slot, greet=self._greeting.sync)
        self._patience_s = _patience_s(self._redis.connection_pool)

    def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        sha, args = self._command(call)
        tries = 0
        while True:
            try:
                with _typed():
                    raw = self._send(call, sha, args)
                return call.read(raw)
            except QueueUnavailableError as error:
                pause = self._pause(call, error, tries)
                if pause is None:
                    raise
                time.sleep(pause)
                tries += 1

    def _send(self, call: Call[Any], sha: str, args: tuple[Any, ...]) -> Raw:
        send = self._send_and_wait if self._waits(call) else self._send_only
        try:
            try:
                return send(call, ("EVALSHA", sha, *args))
            except NoScriptError:
                return send(call, ("EVAL", self._scripts[call.script].source, *args))
        except ReadOnlyError:
            # The server is a replica now. Behind one address (a name, a proxy) another may be the master.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            raise

    def _send_only(self, call: Call[Any], command: Send) -> Raw:
        send: Callable[..., Raw] = self._redis.execute_command
        return send(*command)

    def _send_and_wait(self, call: Call[Any], command: Send) -> Raw:
        with self._redis.pipeline(transaction=False) as pipe:
            add: Callable[..., object] = pipe.execute_command
            for each in self._and_wait(command):
                add(*each)
            return self._confirmed(call, pipe.execute(raise_on_error=False))

    def wait_bell(self, timeout_s: float) -> bool:
        """Wait until a task may be there (True) or the time is over. May ring for nothing."""
        with _typed():
            return self._redis.blpop([self.keys.bell], timeout=self._block(timeout_s)) is not None

    def wait_inbox(self, worker: str, timeout_s: float) -> str | None:
        """The next message for a worker (``cancel <index>``), or None."""
        with _typed():
            message = self._redis.blpop([self.keys.inbox(worker)], timeout=self._block(timeout_s))
        return text(message[1]) if message else None

    def _block(self, timeout_s: float) -> float:
        # 0 would block for ever, and the socket's time-out would turn a longer wait into an error.
        return min(max(timeout_s, 0.01), self._patience_s / 2)

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
    """The queue for one event loop; `Queue` explains the arguments.

    Args:
        max_connections: A call waits for a free one while so many are in use.
    """

    def __init__(
        self,
        url: str,
        *,
        service: str = "easel",
        clock: Clock | None = None,
        max_connections: int = 64,
        wait_replicas: int = 0,
        wait_ms: int = 1000,
    ) -> None:
        super().__init__(service, clock, wait_replicas, wait_ms)
        greet = self._greeting.asynchronous
        self._redis = connect_async(url, slot=self.keys.slot, greet=greet, max_connections=max_connections)

    async def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        sha, args = self._command(call)
        tries = 0
        while True:
            try:
                with _typed():
                    raw = await self._send(call, sha, args)
                return call.read(raw)
            except QueueUnavailableError as error:
                pause = self._pause(call, error, tries)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
                tries += 1

    async def _send(self, call: Call[Any], sha: str, args: tuple[Any, ...]) -> Raw:
        send = self._send_and_wait if self._waits(call) else self._send_only
        try:
            try:
                return await send(call, ("EVALSHA", sha, *args))
            except NoScriptError:
                return await send(call, ("EVAL", self._scripts[call.script].source, *args))
        except ReadOnlyError:
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise

    async def _send_only(self, call: Call[Any], command: Send) -> Raw:
        send: Callable[..., Awaitable[Raw]] = self._redis.execute_command
        return await send(*command)

    async def _send_and_wait(self, call: Call[Any], command: Send) -> Raw:
        async with self._redis.pipeline(transaction=False) as pipe:
            for each in self._and_wait(command):
                pipe.execute_command(*each)
            return self._confirmed(call, await pipe.execute(raise_on_error=False))

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
        await self._redis.aclose()


def _patience_s(pool: redis.ConnectionPool) -> float:
    """How long a reply is waited for; the URL may say it."""
    return float(pool.connection_kwargs.get("socket_timeout") or SOCKET_TIMEOUT_S)
