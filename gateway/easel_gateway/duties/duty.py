"""The frame of a background duty."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

_log = logging.getLogger(__name__)

MAX_PAUSE_S = 30.0
STOP_PATIENCE_S = 2.0
"""How long a round may still run when the gateway stops; with Redis away it would wait for its time-outs."""


class Duty(ABC):
    """Repeats `round` every `interval_s` seconds until stopped. A failing round is logged and tried again
    with doubling pauses: a duty outlives whatever it needs."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def round(self) -> None:
        """Do the work once."""

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._repeat(), name=type(self).__name__)

    async def stop(self) -> None:
        """End after the round that runs now, or break it off when that takes long."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_PATIENCE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _repeat(self) -> None:
        pause = self._interval_s
        while not self._stopping.is_set():
            try:
                await self.round()
                pause = self._interval_s
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round may do better
                _log.warning("%s: %s: %s", type(self).__name__, type(error).__name__, error)
                pause = min(pause * 2, MAX_PAUSE_S)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except asyncio.TimeoutError:
                continue
