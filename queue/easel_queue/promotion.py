"""What a client says first on every connection: is this a master, and was it a replica before?

Replication is asynchronous: a replica that was promoted may lack the last writes of its master, among them
the newest indexes and lease tokens. Were they given out again, a worker from before the failover could hold
the same token as one from after it, and a late commit could name somebody else's result. So whoever connects
to a server that was promoted first moves its counters on, once for each promotion.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from easel_queue.keys import INPUT, SINK, Keys
from easel_queue.scripts import Script

GAP = 2**24
"""Numbers left out after a failover, at least: more than a master that lost its replicas gives out before it
is noticed (16.8 million, most of an hour at 5,000 puts per second). The width is drawn below twice that, so
that two failovers in a row, of which the second lost the first, hardly meet. There is room for 260,000."""

_NEVER = "0" * 40


@dataclass(frozen=True)
class Greeting:
    """The first words on a connection, for both clients."""

    keys: Keys
    script: Script

    def sync(self, connection: Any) -> None:
        """Log in, and see whether the server was promoted. For redis-py's `redis_connect_func`.

        Raises:
            RedisConnectionError: it is a replica, or does not let us look.
        """
        connection.on_connect()
        try:
            connection.send_command("INFO", "replication")
            promotion = promotion_of(connection.read_response())
            if promotion:
                connection.send_command(*self._skip(promotion))
                connection.read_response()
        except ResponseError as error:
            raise RedisConnectionError(f"INFO replication, EVAL: {error}") from error

    async def asynchronous(self, connection: Any) -> None:
        """The same for an event loop."""
        await connection.on_connect()
        try:
            await connection.send_command("INFO", "replication")
            promotion = promotion_of(await connection.read_response())
            if promotion:
                await connection.send_command(*self._skip(promotion))
                await connection.read_response()
        except ResponseError as error:
            raise RedisConnectionError(f"INFO replication, EVAL: {error}") from error

    def _skip(self, promotion: str) -> tuple[Any, ...]:
        keys = self.keys
        names = (keys.promoted, keys.seq(INPUT), keys.seq(SINK), keys.token)
        self.script.check(len(names))
        width = GAP + secrets.randbelow(GAP)
        return ("EVAL", self.script.source, len(names), *names, keys.root, 0, promotion, width)


def promotion_of(info: bytes | str) -> str:
    """What tells one promotion from every other, from INFO replication; "" for one that never was a replica.

    Raises:
        RedisConnectionError: it is a replica now.
    """
    text = info.decode() if isinstance(info, bytes) else info
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if fields.get("role") == "slave":
        raise RedisConnectionError("this Redis is a replica; it may be promoted soon")
    # A promoted server keeps its master's replication id as its second one and takes a new first one.
    return "" if fields.get("master_replid2", _NEVER) == _NEVER else fields.get("master_replid", "")
