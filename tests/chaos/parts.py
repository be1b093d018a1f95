"""The processes of a chaos run: started, killed, stopped, continued, and listened to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from easel_gateway.cli import leash

PATIENCE_S = 60.0
"""Longest wait for anything that the service owes us; a healthy one needs a second or two of it."""


class StuckError(AssertionError):
    """Something that had to happen did not; the text says what, and the last lines of who owed it."""


class Part:
    """One process and those that take its place, with all that they said.

    Start it from one thread that lives as long as the run: the kernel ends the process with it.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        ready: str,
        log: Path,
        stdin: bytes = b"",
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self._argv = (sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), "-", *argv)
        self._env = {**_clean_environment(), **env}
        self._ready = ready
        self._log = log
        self._stdin = stdin
        self._said = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._began = 0
        self._expected = False

    @property
    def role(self) -> str:
        """ "worker" of "worker-2"."""
        return self.name.partition("-")[0]

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and come back at once."""
        self._began, self._expected = self.mark(), False
        self._process = subprocess.Popen(
            self._argv,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._stdin.decode())
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process is not None
        self._expected = True
        self._process.kill()
        self._process.wait()
        if self._reader is not None:
            self._reader.join(PATIENCE_S)

    def end(self) -> None:
        """Kill it if it runs, whatever became of it."""
        if self._process is not None:
            self.kill()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def mark(self) -> int:
        """A place in what it said, for `wait_line`."""
        return len(self.lines)

    def await_ready(self) -> None:
        """Return once the newest process has said that it serves."""
        self.wait_line(self._ready, since=self._began)

    def wait_line(self, pattern: str, *, since: int) -> str:
        """The first line from `since` on that matches. Raises StuckError."""
        deadline = time.monotonic() + PATIENCE_S
        seen = since
        with self._said:
            while True:
                for line in self.lines[seen:]:
                    if re.search(pattern, line):
                        return line
                seen = len(self.lines)
                self.check_alive()
                if not self._said.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() > deadline:
                    raise StuckError(f"{self.name} did not say {pattern!r}:\n{self.tail()}")

    def check_alive(self) -> None:
        """Raise StuckError if it ended although nobody killed it."""
        if self._process is not None and self._process.poll() is not None and not self._expected:
            raise StuckError(f"{self.name} ended by itself ({self._process.returncode}):\n{self.tail()}")

    def tail(self) -> str:
        """Its last lines."""
        return "".join(self.lines[-30:])

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with self._log.open("a") as log, process.stdout:
            for line in process.stdout:
                log.write(line)
                with self._said:
                    self.lines.append(line)
                    self._said.notify_all()
        process.wait()
        with self._said:
            self._said.notify_all()


def _clean_environment() -> dict[str, str]:
    """Ours, without what a developer has set for Easel or for HTTP proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EASEL_") and not name.lower().endswith("_proxy")
    }
