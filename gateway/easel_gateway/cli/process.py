"""One child process: how to start it, and how it ended, in words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

EXIT_BAD_SETTINGS = 2
"""What every process of ours exits with when its settings are wrong: starting it again cannot help."""

MAX_LOG_BYTES = 10_000_000
"""A log larger than this is begun anew when its process starts; the old one is kept beside it."""

_LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True)
class ProcessSpec:
    """A process as data. The supervisor runs whatever it is given, which is also how it is tested."""

    name: str
    """For people and for up.json: "redis", "gateway", "worker-1"."""
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the supervisor's own environment; the private Redis address travels here, never in `argv`."""
    stdin: bytes = field(default=b"", repr=False)
    log: Path | None = None
    """File for its output; None: it shares the supervisor's terminal."""
    lock: Path | None = None
    """File that it keeps locked while it lives."""


class Child:
    """A started process, in a session of its own: the terminal's Ctrl-C reaches the supervisor only."""

    def __init__(self, spec: ProcessSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self._process = process

    @classmethod
    async def start(cls, spec: ProcessSpec) -> Child:
        """Start it. Call this from the main thread: the kernel ties the child to the thread that forks.

        Raises:
            OSError: Python itself or the log file cannot be opened. A missing command ends at once instead.
        """
        leash = (sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), str(spec.lock or "-"))
        with contextlib.ExitStack() as files:
            output = files.enter_context(_open_log(spec.log)) if spec.log else None
            process = await asyncio.create_subprocess_exec(
                *leash,
                *spec.argv,
                stdin=asyncio.subprocess.PIPE if spec.stdin else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **spec.env},
                start_new_session=True,
            )
        if process.stdin is not None:
            process.stdin.write(spec.stdin)
            with contextlib.suppress(OSError):  # it died already; wait() tells
                await process.stdin.drain()
            process.stdin.close()
        return cls(spec, process)

    @property
    def pid(self) -> int:
        """The command's own pid: the leash becomes the command."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not been seen to end."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Its exit status, or the negative number of the signal that ended it."""
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and every process of its session's group at once (SIGKILL)."""
        if self.running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace_s: float) -> bool:
        """SIGTERM, then SIGKILL after `grace_s` seconds. False if it had to be killed."""
        self.terminate()
        try:
            await asyncio.wait_for(self.wait(), grace_s)
        except asyncio.TimeoutError:
            self.kill()
            await self.wait()
            return False
        return True


def how_it_ended(status: int) -> str:
    """An exit status in words: "exit status 1", "killed by SIGKILL"."""
    if status >= 0:
        meaning = " (its settings are wrong)" if status == EXIT_BAD_SETTINGS else ""
        return f"exit status {status}{meaning}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name}"


def last_line(log: Path) -> str:
    """The end of a log, to say with a death."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _open_log(path: Path) -> BinaryIO:
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".old.log"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
