"""Sending calls to Redis: `Queue` from threads, `AsyncQueue` from an event loop.

Both ride through a Redis restart for calls that may be repeated. For the others, and when Redis stays away,
they raise `QueueUnavailableError`. `connect` says what addresses there are; behind those of Sentinel and of
a Redis Cluster, they follow the master.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.exceptions import (
    NoScriptError,
    ReadOnlyError,
)

from easel_queue.batching import LANES, Batcher, may_share
from easel_queue.call import Call, Raw, text
from easel_queue.connect import SOCKET_TIMEOUT_S, connect, connect_async
from easel_queue.errors import NotReplicatedError, QueueError, QueueUnavailableError
from easel_queue.exchange import Exchange
from easel_queue.sending import Again, Answer, Clock, Send, Sender, typed

T = TypeVar("T")


class Queue(Sender):
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
        self._exchange = Exchange(self._redis.connection_pool)
        self._patience_s = _patience_s(self._redis.connection_pool)

    def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        sha, args = self._command(call)
        tries = 0
        while True:
            try:
                with typed():
                    raw = self._send(call, sha, args)
                return call.read(raw)
            except QueueUnavailableError as error:
                pause = self._pause(call, error, tries)
                if pause is None:
                    raise
                time.sleep(pause)
                tries += 1

    def run_many(self, calls: Sequence[Call[T]]) -> list[Answer[T]]:
        """Send several calls in one round trip; the answers come in their order.

        Each call is a step of its own: others may come between, and one that fails stops none behind it, so
        its error stands in its place instead of being raised. A call that Redis did not carry out (its
        script was unknown), or that may be repeated after a broken connection, is sent again behind the rest.
        """
        answers: list[Answer[T]] = []
        away: QueueUnavailableError | None = None
        for call, raw in zip(calls, self._send_many(calls), strict=True):
            settled = self._settle(call, raw)
            if settled is not Again.SEND:
                answers.append(settled)
            elif away is not None:
                answers.append(away)  # it was waited for once; the others need not
            else:
                try:
                    answer: T = self.run(call)
                    answers.append(answer)
                except QueueError as error:
                    answers.append(error)
                except QueueUnavailableError as error:
                    answers.append(error)
                    if not isinstance(error, NotReplicatedError):  # Redis is there, and answers reads
                        away = error
        return answers

    def _send_many(self, calls: Sequence[Call[T]]) -> Sequence[Raw]:
        try:
            with typed():
                replies = self._exchange(self._commands(calls))
        except QueueUnavailableError as error:
            return [error] * len(calls)
        return self._confirmed_many(calls, replies)

    def _send(self, call: Call[Any], sha: str, args: tuple[Any, ...]) -> Raw:
        send = self._send_and_wait if self._waits(call) else self._send_only
        try:
            try:
                return send(call, ("EVALSHA", sha, *args))
            except NoScriptError:
                return send(call, ("EVAL", self._scripts[call.script].source, *args))
        except ReadOnlyError:
            # The server is a replica now. Behind one address (a name, a proxy) another may be the master.
            self._exchange.leave()
            raise

    def _send_only(self, call: Call[Any], command: Send) -> Raw:
        (reply,) = self._exchange([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _send_and_wait(self, call: Call[Any], command: Send) -> Raw:
        return self._confirmed(call, self._exchange([command, *self._barrier()]))

    def wait_bell(self, timeout_s: float) -> bool:
        """Wait until a task may be there (True) or the time is over. May ring for nothing."""
        with typed():
            return self._redis.blpop([self.keys.bell], timeout=self._block(timeout_s)) is not None

    def run_at_bell(self, call: Call[T], timeout_s: float) -> T:
        """Wait as `wait_bell` does, then send a call, whether the bell rang or not; in one round trip.

        Redis carries the call out in the moment in which the bell rings, so its changes reach the disk
        together with the put that rang. Who is frozen or cut off by then gets an answer that nobody reads: of
        a reserve, a task whose lease has to run out.
        """
        wait = ("BLPOP", self.keys.bell, self._block(timeout_s))
        with typed():
            rung, *replies = self._exchange([wait, *self._commands([call])])
            if isinstance(rung, ReadOnlyError):
                self._exchange.leave()
            if isinstance(rung, Exception):
                raise rung
        (reply,) = self._confirmed_many([call], replies)
        answer = self._settle(call, reply)
        if answer is Again.SEND:
            return self.run(call)
        if isinstance(answer, QueueError | QueueUnavailableError):
            raise answer
        return answer

    def wait_inbox(self, worker: str, timeout_s: float) -> str | None:
        """The next message for a worker (``cancel <index>``), or None."""
        with typed():
            message = self._redis.blpop([self.keys.inbox(worker)], timeout=self._block(timeout_s))
        return text(message[1]) if message else None

    def _block(self, timeout_s: float) -> float:
        # 0 would block for ever, and the socket's time-out would turn a longer wait into an error.
        return min(max(timeout_s, 0.01), self._patience_s / 2)

    def ping(self) -> None:
        """Raise QueueUnavailableError unless Redis answers."""
        with typed():
            self._redis.ping()

    def info(self) -> dict[str, Any]:
        """Redis's INFO. Raises QueueUnavailableError."""
        with typed():
            return dict(self._redis.info())

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


class AsyncQueue(Sender):
    """The queue for one event loop; `Queue` explains the arguments.

    Args:
        max_connections: A call waits for a free one while so many are in use. Small puts have their own.
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
        shared = connect_async(url, slot=self.keys.slot, greet=greet, max_connections=LANES, timed=False)
        self._batcher = Batcher(shared, patience_s=_patience_s(self._redis.connection_pool))

    async def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        sha, args = self._command(call)
        tries = 0
        while True:
            try:
                with typed():
                    raw = await self._send(call, sha, args)
                return call.read(raw)
            except QueueUnavailableError as error:
                pause = self._pause(call, error, tries)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
                tries += 1

    async def run_many(self, calls: Sequence[Call[T]]) -> list[Answer[T]]:
        """Send several calls in one round trip, as `Queue.run_many` does."""
        answers: list[Answer[T]] = []
        away: QueueUnavailableError | None = None
        for call, raw in zip(calls, await self._send_many(calls), strict=True):
            settled = self._settle(call, raw)
            if settled is not Again.SEND:
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
                    answers.append(error)
                    if not isinstance(error, NotReplicatedError):  # Redis is there, and answers reads
                        away = error
        return answers

    async def _send_many(self, calls: Sequence[Call[T]]) -> Sequence[Raw]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in self._commands(calls):
                pipe.execute_command(*command)
            try:
                with typed():
                    replies: list[Raw] = await pipe.execute(raise_on_error=False)
            except QueueUnavailableError as error:
                return [error] * len(calls)
        return self._confirmed_many(calls, replies)

    async def _send(self, call: Call[Any], sha: str, args: tuple[Any, ...]) -> Raw:
        send = self._send_and_wait if self._waits(call) else self._send_only
        try:
            try:
                return await send(call, ("EVALSHA", sha, *args))
            except NoScriptError:
                return await send(call, ("EVAL", self._scripts[call.script].source, *args))
        except ReadOnlyError:
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            await self._batcher.forget()
            raise

    async def _send_only(self, call: Call[Any], command: Send) -> Raw:
        alone: Callable[..., Awaitable[Raw]] = self._redis.execute_command
        send = self._batcher.send if may_share(call) else alone
        return await send(*command)

    async def _send_and_wait(self, call: Call[Any], command: Send) -> Raw:
        async with self._redis.pipeline(transaction=False) as pipe:
            for each in (command, *self._barrier()):
                pipe.execute_command(*each)
            return self._confirmed(call, await pipe.execute(raise_on_error=False))

    def pubsub(self) -> redis.asyncio.client.PubSub:
        """A subscription of this service's Redis; `EventHub` is its only user."""
        return self._redis.pubsub(ignore_subscribe_messages=False)

    async def ping(self) -> None:
        """Raise QueueUnavailableError unless Redis answers."""
        with typed():
            await self._redis.ping()

    async def info(self) -> dict[str, Any]:
        """Redis's INFO. Raises QueueUnavailableError."""
        with typed():
            return dict(await self._redis.info())

    async def close(self) -> None:
        """Close all connections."""
        await self._batcher.close()
        await self._redis.aclose()


def _patience_s(pool: redis.ConnectionPool | redis.asyncio.ConnectionPool) -> float:
    """How long a reply is waited for; the URL may say it."""
    return float(pool.connection_kwargs.get("socket_timeout") or SOCKET_TIMEOUT_S)
