"""Keeps processes running until it is told to stop, and says what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from easel_gateway.cli.process import EXIT_BAD_SETTINGS, Child, ProcessSpec, how_it_ended, last_line

Say = Callable[[str], None]


@dataclass(frozen=True)
class RestartPolicy:
    """Delays before a process that died is started again: doubling, forgotten once it has lived a while."""

    first_s: float = 0.5
    """Short enough that clients of a crashed gateway only have to retry once."""
    longest_s: float = 30.0
    """Long enough that a worker that cannot start does not keep a core busy with importing torch."""
    healthy_s: float = 60.0
    """A process that lived this long had nothing wrong at start; its next death begins at `first_s` again."""

    def next_delay(self, previous_s: float, lived_s: float) -> float:
        """Delay after a death; `previous_s` is the delay before it (0: none yet)."""
        if previous_s <= 0 or lived_s >= self.healthy_s:
            return self.first_s
        return min(previous_s * 2, self.longest_s)


class Keeper:
    """Keeps one process running."""

    def __init__(
        self,
        spec: ProcessSpec,
        *,
        policy: RestartPolicy,
        say: Say,
        changed: Callable[[], None],
        refused: asyncio.Event,
    ) -> None:
        self.spec = spec
        self.ended = asyncio.Event()
        """Set at its first death, of whatever kind."""
        self._child: Child | None = None
        self._policy = policy
        self._say = say
        self._changed = changed
        self._refused = refused
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the running process; 0 between two of them."""
        return self._child.pid if self._child is not None and self._child.running else 0

    async def start(self) -> None:
        """Start it for the first time and keep it from then on. Raises OSError."""
        self._child = await Child.start(self.spec)
        self._changed()
        self._task = asyncio.create_task(self._keep(self._child), name=f"keep {self.spec.name}")

    async def stop(self, grace_s: float) -> None:
        """Stop it for good: SIGTERM, after `grace_s` SIGKILL."""
        self._stopping.set()
        if self._child is not None and self._child.running and not await self._child.stop(grace_s):
            self._say(f"{self.spec.name} did not stop within {grace_s:g} s and was killed")
        if self._task is not None:
            await self._task
        self._changed()

    def kill(self) -> None:
        """End it at once and never start it again."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()

    async def _keep(self, child: Child) -> None:
        delay = 0.0
        while True:
            began = time.monotonic()
            status = await child.wait()
            self.ended.set()
            if self._stopping.is_set():
                return
            self._changed()
            if status == EXIT_BAD_SETTINGS:
                self._say(f"{self.spec.name} ended: {how_it_ended(status)}")
                self._refused.set()
                return
            delay = self._policy.next_delay(delay, time.monotonic() - began)
            self._say(f"{self.spec.name} ended: {self.reason(status)}; starting it again in {delay:g} s")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            if self._stopping.is_set():
                return
            try:
                child = await Child.start(self.spec)
            except OSError as exc:  # no memory, no process left: the back-off is for this too
                self._say(f"{self.spec.name} cannot be started: {exc.strerror}")
                continue
            self._child = child
            if self._stopping.is_set():  # stop() came in between and saw only the dead one
                child.kill()
            self._changed()

    def reason(self, status: int) -> str:
        """How it ended; if by itself, with the last line of its log."""
        line = last_line(self.spec.log) if self.spec.log and status > 0 else ""
        return f"{how_it_ended(status)} ({line})" if line else how_it_ended(status)


class Supervisor:
    """Several kept processes, started one by one and stopped in groups."""

    def __init__(
        self, *, say: Say, policy: RestartPolicy | None = None, changed: Callable[[], None] | None = None
    ) -> None:
        self.refused = asyncio.Event()
        """Set when a process refuses its settings; it is not started again."""
        self._say = say
        self._policy = policy or RestartPolicy()
        self._changed = changed or (lambda: None)
        self._groups: dict[str, list[Keeper]] = {}

    async def start(self, group: str, spec: ProcessSpec) -> Keeper:
        """Start `spec` and keep it running."""
        keeper = Keeper(spec, policy=self._policy, say=self._say, changed=self._changed, refused=self.refused)
        await keeper.start()
        self._groups.setdefault(group, []).append(keeper)
        self._changed()
        return keeper

    def pids(self) -> dict[str, int]:
        """Role to pid of what runs now."""
        return {keeper.spec.name: keeper.pid for keeper in self.keepers() if keeper.pid}

    def keepers(self) -> list[Keeper]:
        """All of them, in order of their start."""
        return [keeper for keepers in self._groups.values() for keeper in keepers]

    async def stop(self, group: str, grace_s: float) -> None:
        """Stop one group's processes, all at the same time."""
        await asyncio.gather(*(keeper.stop(grace_s) for keeper in self._groups.get(group, ())))

    def kill(self) -> None:
        """End everything at once."""
        for keeper in self.keepers():
            keeper.kill()
