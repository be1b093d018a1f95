"""Connections that follow whoever leads: Sentinel's master, or the owner of a slot of a Redis Cluster.

redis-py's pool for Sentinel asks for the master's address at every new connection and drops idle connections
when the answer changes. That is what a slot's owner needs, too, so both use it; only the question differs.

It would stay with an old master that is alive for as long as its connections are: one that was frozen or cut
off for a while, or replaced on request, is made a replica ten seconds later only, and what it accepts until
then is lost. So the pools here also ask once a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import redis
import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool as AsyncBlockingPool
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncManagedConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection as AsyncManagedSSLConnection
from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import (
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

Node = tuple[str, int]

RECHECK_S = 1.0
"""How long an old master that is alive may be believed in; one small question to one sentinel or node."""

SILENT_S = 10.0
"""A node that did not answer is asked last for so long."""


class NoLeaderError(RedisConnectionError):
    """Somebody answered, and knows of no leader: a failover is going on."""


class Question(Protocol):
    """Who leads, as one command, and how to read what a node answers."""

    @property
    def command(self) -> tuple[str, ...]:
        """What to send."""

    def read(self, reply: Any, asked: Node) -> tuple[Node | None, list[Node]]:
        """The leader (None if this node knows none), and other nodes that may be asked."""

    def __str__(self) -> str:
        """The question in words, for an error."""


@dataclass(frozen=True)
class WhoIsMaster:
    """For sentinels. One that takes the master for dead knows none until another was promoted."""

    name: str

    @property
    def command(self) -> tuple[str, ...]:
        return ("SENTINEL", "MASTER", self.name)

    def read(self, reply: Any, asked: Node) -> tuple[Node | None, list[Node]]:
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        fields = {_text(field): _text(value) for field, value in pairs}
        flags = set(fields["flags"].split(","))
        if "master" not in flags or flags & {"s_down", "o_down", "disconnected"}:
            return None, []
        return (fields["ip"], int(fields["port"])), []

    def __str__(self) -> str:
        return f"which living master is {self.name!r}"


@dataclass(frozen=True)
class WhoOwnsSlot:
    """For the nodes of a cluster."""

    slot: int

    @property
    def command(self) -> tuple[str, ...]:
        return ("CLUSTER", "SLOTS")

    def read(self, reply: Any, asked: Node) -> tuple[Node | None, list[Node]]:
        owner = None
        heard: list[Node] = []
        for first, last, *nodes in reply:
            # A node that does not know its own name leaves it out, or says "?".
            names = [_text(node[0]) for node in nodes]
            addresses = [
                (asked[0] if name in {"", "?"} else name, int(node[1]))
                for name, node in zip(names, nodes, strict=True)
            ]
            heard += addresses
            if first <= self.slot <= last:
                owner = addresses[0]
        return owner, heard

    def __str__(self) -> str:
        return f"who owns slot {self.slot}"


class _Leader:
    """Whom to ask, and in which order."""

    def __init__(self, nodes: Sequence[Node], question: Question, options: dict[str, Any]) -> None:
        self._seeds = tuple(nodes)
        self._nodes = self._seeds
        self._question = question
        self._options = options
        self._turns = 0
        self._silent: dict[Node, float] = {}

    def _turn(self) -> list[Node]:
        """Everybody, each time from another one on: one that was cut off and knows only the past must not be
        believed for ever. Who was silent a moment ago comes last."""
        nodes = self._nodes
        first = self._turns % len(nodes)
        self._turns += 1
        since = time.monotonic() - SILENT_S
        return sorted(nodes[first:] + nodes[:first], key=lambda node: self._silent.get(node, since) > since)

    def _failed(self, asked: Node, error: Exception) -> str:
        self._silent[asked] = time.monotonic()
        return f"{asked[0]}:{asked[1]}: {error}"

    def _client(self, kind: Callable[..., Any], asked: Node) -> Any:
        return kind(host=asked[0], port=asked[1], **self._options)

    def _read(self, reply: Any, asked: Node) -> Node | None:
        leader, heard = self._question.read(reply, asked)
        self._nodes = tuple(dict.fromkeys([*self._seeds, *heard]))
        return leader

    def _nobody_knows(self, failures: int, last: str) -> RedisConnectionError:
        # The addresses only: nothing here may repeat what was used to log in.
        listed = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        kind = NoLeaderError if failures < len(self._nodes) else RedisConnectionError
        return kind(f"none of {listed} knows {self._question}{last and f' ({last})'}")


class Leader(_Leader):
    """Asks the nodes one after the other. Thread-safe."""

    def discover_master(self, service_name: str) -> Node:
        """The leader's address; the argument is of redis-py's making.

        Raises:
            RedisConnectionError: nobody knows it.
        """
        failure, failures = "", 0
        for asked in self._turn():
            try:
                with self._client(redis.Redis, asked) as node:
                    leader = self._read(node.execute_command(*self._question.command), asked)
            except (RedisError, OSError) as error:
                failure = self._failed(asked, error)
                failures += 1
                continue
            if leader is not None:
                return leader
        raise self._nobody_knows(failures, failure)


class AsyncLeader(_Leader):
    """The same for an event loop."""

    async def discover_master(self, service_name: str) -> Node:
        """The leader's address; the argument is of redis-py's making.

        Raises:
            RedisConnectionError: nobody knows it.
        """
        failure, failures = "", 0
        for asked in self._turn():
            try:
                async with self._client(redis.asyncio.Redis, asked) as node:
                    leader = self._read(await node.execute_command(*self._question.command), asked)
            except (RedisError, OSError) as error:
                failure = self._failed(asked, error)
                failures += 1
                continue
            if leader is not None:
                return leader
        raise self._nobody_knows(failures, failure)


class _FollowsMoves:
    """A reply that sends us elsewhere ends the connection: the next one asks who leads."""

    def read_response(self, *args: Any, **how: Any) -> Any:
        try:
            return super().read_response(*args, **how)  # type: ignore[misc]
        except AskError as moved:  # MovedError is one
            self.disconnect()  # type: ignore[attr-defined]
            raise RedisConnectionError(f"the slot moves: {moved}") from None


class _Connection(_FollowsMoves, SentinelManagedConnection):
    pass


class _SSLConnection(_FollowsMoves, SentinelManagedSSLConnection):
    pass


class _AsyncFollowsMoves:
    async def read_response(self, *args: Any, **how: Any) -> Any:
        try:
            return await super().read_response(*args, **how)  # type: ignore[misc]
        except AskError as moved:
            await self.disconnect()  # type: ignore[attr-defined]
            raise RedisConnectionError(f"the slot moves: {moved}") from None


class _AsyncConnection(_AsyncFollowsMoves, AsyncManagedConnection):
    pass


class _AsyncSSLConnection(_AsyncFollowsMoves, AsyncManagedSSLConnection):
    pass


class FollowingPool(SentinelConnectionPool):
    """Connections to whoever leads."""

    def __init__(self, leader: Leader, *, ssl: bool, **options: Any) -> None:
        kind = _SSLConnection if ssl else _Connection
        begin: Callable[..., None] = super().__init__
        begin("", leader, connection_class=kind, **options)
        self._asked_at = time.monotonic()

    def get_connection(self, *args: Any, **how: Any) -> Any:
        if time.monotonic() - self._asked_at > RECHECK_S:
            self._asked_at = time.monotonic()  # first, so that only one thread asks
            ask: Callable[[], Any] = self.get_master_address
            try:
                ask()  # drops idle connections to another one
            except NoLeaderError:
                self._asked_at = -math.inf  # soon there is one
            except RedisConnectionError:
                pass  # while nobody answers, what is open may still be right
        return super().get_connection(*args, **how)


class AsyncFollowingPool(AsyncSentinelPool, AsyncBlockingPool):
    """Connections to whoever leads; who finds all of them in use waits for one."""

    def __init__(self, leader: AsyncLeader, *, ssl: bool, **options: Any) -> None:
        kind = _AsyncSSLConnection if ssl else _AsyncConnection
        begin: Callable[..., None] = super().__init__
        begin("", leader, connection_class=kind, **options)
        self._asked_at = time.monotonic()

    async def get_connection(self, *args: Any, **how: Any) -> Any:
        if time.monotonic() - self._asked_at > RECHECK_S:
            self._asked_at = time.monotonic()
            ask: Callable[[], Any] = self.get_master_address
            try:
                await ask()
            except NoLeaderError:
                self._asked_at = -math.inf
            except RedisConnectionError:
                pass
        get: Callable[..., Any] = super().get_connection
        return await get(*args, **how)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
