"""What this gateway knows of the service's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from easel_gateway.duties.duty import Duty
from easel_queue import AsyncQueue, EventHub, Signal
from easel_queue.options_calls import CHANNEL

LOOK_AGAIN_S = 30.0
"""The options are read this often even when no event came: events are hints and may be lost."""


class OptionsFollower(Duty):
    """Keeps `current` up to date, for what needs no more than a good guess, such as a task's needs.

    The options that a task renders with come from Redis itself, in the step that stores the task.
    """

    def __init__(self, queue: AsyncQueue, hub: EventHub) -> None:
        super().__init__(interval_s=1.0)
        self._queue = queue
        self._hub = hub
        self._changed: Signal | None = None
        self.current: Mapping[str, Any] = {}
        """The options that are not at their defaults."""

    async def round(self) -> None:
        """Read them, and again whenever they have changed."""
        with self._hub.on_queue(CHANNEL) as self._changed:
            while not self._stopping.is_set():
                stored = await self._queue.run(self._queue.options.read())
                self.current = stored.values
                await self._changed.wait(LOOK_AGAIN_S)

    async def stop(self) -> None:
        self._stopping.set()
        if self._changed is not None:
            self._changed.set()
        await super().stop()
