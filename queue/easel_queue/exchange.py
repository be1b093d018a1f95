"""Commands and their replies over a connection of redis-py's, for threads.

redis-py's own way counts, times and retries beside it, and takes the connection from its pool for each
command: half as much time again as the round trip's other work. Who asks here retries itself.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from easel_queue.call import Raw

KEPT_S = 1.0
"""A connection is used for so long before it goes back to the pool and is asked for again. Behind Sentinel
and on a cluster the pool then looks who the master is."""


class Exchange:
    """Sends commands in one go and reads their replies. Thread-safe; each call has its connection."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._pool_connection: Callable[[], Any] = pool.get_connection
        self._kept: deque[tuple[Any, float]] = deque()
        self._process = os.getpid()

    def __call__(self, commands: Sequence[tuple[Any, ...]]) -> list[Raw]:
        """The replies in the order of the commands; where one was refused, its ResponseError.

        Raises what a broken connection raises.
        """
        connection, taken_at = self._connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            # What is still to come is nobody's answer.
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._kept.append((connection, taken_at))
        return replies

    def leave(self) -> None:
        """Close the connections that are idle: another server may be the master."""
        while self._kept:
            self._pool.release(self._kept.pop()[0])
        self._pool.disconnect(inuse_connections=False)

    def _connection(self) -> tuple[Any, float]:
        """A connection, and when the pool gave it: the one used last, unless that was too long ago."""
        now = time.monotonic()
        if os.getpid() != self._process:
            self._kept, self._process = deque(), os.getpid()  # those are the parent's
        while True:
            try:
                connection, taken_at = self._kept.pop()
            except IndexError:
                return self._pool_connection(), now
            if now - taken_at < KEPT_S and _is_quiet(connection):
                return connection, taken_at
            self._pool.release(connection)


def _is_quiet(connection: Any) -> bool:
    """Whether it is open, and nothing has come that nobody asked for."""
    try:
        return not connection.can_read()
    except (RedisConnectionError, OSError):
        return False


def _reply(connection: Any) -> Raw:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
