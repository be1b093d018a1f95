"""Calls that come at about the same time share a round trip.

A gateway under load has many puts in hand at once. Sent one by one, each pays for a connection from the pool,
a write, a wake-up and a read, which is more than Redis needs for the put itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import redis.asyncio
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from easel_queue.call import Call, Raw
from easel_queue.exchange import KEPT_S

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    # redis-py brings it along there.
    from async_timeout import timeout  # type: ignore[import-not-found, unused-ignore]

SHARING = frozenset({"put_task", "append_entry"})
"""Scripts whose answers are short and which clients call in numbers. The others go alone: nobody shall wait
behind somebody's megabytes."""

SMALL_BYTES = 64 * 1024
"""A request beyond this goes alone, too."""

LANES = 2
"""Round trips under way at once: one is packed and read while Redis works on the other."""

MOST = 64
"""Calls in one round trip: some milliseconds of Redis's time."""

_Asked: TypeAlias = "tuple[tuple[Any, ...], asyncio.Future[Raw]]"


def may_share(call: Call[Any]) -> bool:
    """Whether a call may go together with others."""
    if call.script not in SHARING:
        return False
    return sum(len(arg) for arg in call.args if not isinstance(arg, int)) <= SMALL_BYTES


class Batcher:
    """Sends commands for one event loop: at once if nothing is under way, else with what gathers meanwhile.

    Each command has its own answer or error; those of one round trip fail together when its connection
    breaks. Commands that are asked for at the same time are carried out in any order.

    Args:
        client: Its connections are the batcher's own, `LANES` at most; `close` closes them.
        patience_s: For how long a round trip is waited for, whatever the connections' own time-out is.
    """

    def __init__(self, client: redis.asyncio.Redis, *, patience_s: float) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._patience_s = patience_s
        self._pool_connection: Callable[[], Awaitable[Any]] = self._pool.get_connection
        self._kept: list[tuple[Any, float]] = []
        self._waiting: deque[_Asked] = deque()
        self._under_way = 0
        self._lanes: set[asyncio.Task[None]] = set()

    async def send(self, *command: Any) -> Raw:
        """The command's reply. Raises what redis-py raises."""
        if self._under_way == 0:
            self._under_way += 1
            try:
                (reply,) = await self._exchange([command])
                if isinstance(reply, Exception):
                    raise reply
                return reply
            finally:
                self._under_way -= 1
                self._open_lane()
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        self._open_lane()
        return await answer

    async def close(self) -> None:
        """Stop; commands still under way are cancelled."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        lanes = tuple(self._lanes)
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        await self._client.aclose()

    async def forget(self) -> None:
        """Leave the connections that are idle: another server may be the master."""
        while self._kept:
            await self._pool.release(self._kept.pop()[0])
        await self._pool.disconnect(inuse_connections=False)

    def _open_lane(self) -> None:
        if self._waiting and self._under_way < LANES:
            self._under_way += 1
            lane = asyncio.create_task(self._drain(), name="easel-batch")
            self._lanes.add(lane)  # the loop itself keeps no task alive
            lane.add_done_callback(self._lanes.discard)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                await self._round_trip(batch)
        finally:
            self._under_way -= 1

    async def _round_trip(self, batch: list[_Asked]) -> None:
        try:
            replies = await self._exchange([command for command, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who asked are told
            replies = [error] * len(batch)
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, answer), reply in zip(batch, replies, strict=True):
            if answer.done():
                continue  # who asked has gone
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    async def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Raw]:
        """Send the commands in one go and read their replies, errors of theirs among them.

        redis-py's pipeline does the same and counts, times and retries beside it, for half as much time
        again; who asked here retries itself. Raises what a broken connection raises.
        """
        try:
            async with timeout(self._patience_s):
                return await self._exchange_on(*await self._connection(), commands)
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"no answer within {self._patience_s:g} s") from None

    async def _exchange_on(
        self, connection: Any, taken_at: float, commands: Sequence[tuple[Any, ...]]
    ) -> list[Raw]:
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            replies = [await _reply(connection) for _ in commands]
        except BaseException:
            # What is still to come is nobody's answer.
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)
            raise
        self._kept.append((connection, taken_at))
        return replies

    async def _connection(self) -> tuple[Any, float]:
        """A connection, and when the pool gave it: the one used last, unless that was too long ago."""
        now = asyncio.get_running_loop().time()
        while self._kept:
            connection, taken_at = self._kept.pop()
            if now - taken_at < KEPT_S:
                return connection, taken_at
            await self._pool.release(connection)
        return await self._pool_connection(), now


async def _reply(connection: Any) -> Raw:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
