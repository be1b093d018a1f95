"""One subscription to one channel, kept alive until nobody wants it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from easel_queue.client import AsyncQueue

logger = logging.getLogger("easel.queue.hub")

RECONNECT_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between attempts to subscribe again; the last one repeats."""

IDLE_S = 15.0
"""Without a message for this long the connection is tested, so that a silent death is noticed."""


class Feed:
    """Passes on what is published on a channel while somebody wants it.

    Args:
        hear: Called with each event.
        begin: Called whenever the subscription stands, for the first time or again: what was published before
            may have been missed.
    """

    def __init__(
        self,
        queue: AsyncQueue,
        channel: str,
        hear: Callable[[dict[str, Any]], None],
        begin: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._channel = channel
        self._hear, self._begin = hear, begin
        self._wanted = 0
        self._runner: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    @contextlib.contextmanager
    def wanted(self) -> Iterator[None]:
        """Subscribe, if that is not so already, and stay so while the block runs and until the next event
        after it: who asks in turns does not subscribe in turns."""
        self._wanted += 1
        try:
            if self._runner is None:
                self._runner = asyncio.create_task(self._run(), name=f"easel-feed {self._channel}")
            yield
        finally:
            self._wanted -= 1

    async def ready(self) -> None:
        """Wait until the subscription stands."""
        await self._subscribed.wait()

    async def stop(self) -> None:
        """End the subscription, whoever wants it."""
        runner = self._runner
        while runner is not None and not runner.done():
            # Repeated, because redis-py swallows a cancellation that arrives while it connects.
            runner.cancel()
            await asyncio.wait({runner}, timeout=0.1)

    async def _run(self) -> None:
        attempt = 0
        while self._wanted:
            try:
                async with self._queue.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    if attempt:
                        logger.info("listening to Redis again")
                    attempt = 0
                    await self._listen(pubsub)
            except (RedisError, OSError, RuntimeError) as error:
                # RuntimeError: uvloop's word for a write to a connection that was reset.
                self._subscribed.clear()
                if attempt == 0:
                    logger.warning("lost Redis (%s); trying again until it is back", error)
                await asyncio.sleep(RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])
                attempt += 1
        self._runner = None

    async def _listen(self, pubsub: Any) -> None:
        """Come back when nobody wants it any more."""
        while True:
            message = await pubsub.get_message(timeout=IDLE_S)
            if not self._wanted:
                self._subscribed.clear()
                return
            if message is None:
                await pubsub.ping()
            elif message["type"] == "subscribe":
                self._subscribed.set()
                self._begin()
            elif message["type"] == "message":
                self._hear(json.loads(message["data"]))
