"""Commands packed in C, for connections of an event loop.

redis-py does so by itself for its blocking connections, when hiredis is installed; those of asyncio join the
arguments one by one in Python, which is most of what a put's forty cost the caller.
"""

from __future__ import annotations

from typing import Any

import hiredis
import redis.asyncio


class _PacksInC:
    def pack_command(self, *args: Any) -> list[bytes]:
        name, *rest = args  # a name may be two words, as CONFIG GET
        try:
            return [hiredis.pack_command((*name.split(), *rest))]
        except TypeError:  # what only redis-py knows how to write, such as a bytearray
            packed: list[bytes] = super().pack_command(*args)  # type: ignore[misc]
            return packed


def pack_in_c(pool: redis.asyncio.ConnectionPool) -> redis.asyncio.ConnectionPool:
    """Let the connections that this pool makes from now on pack their commands in C. Returns the pool."""
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_PacksInC, kind), {})
    return pool
