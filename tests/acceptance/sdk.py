"""The official Python SDK, unmodified, in processes of its own.

It pins a protobuf that the gateway cannot use, and its licence (GPL-3.0) is not ours: so it lives in an
environment of its own, and is run, never imported or shipped. What runs there is in ``programs/``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .service import TOKEN, Service

PROGRAMS = Path(__file__).parent / "programs"
LIMIT_S = 240.0


class Sdk:
    """Starts programs that use the SDK against one service."""

    def __init__(self, python: Path, service: Service, endpoint: str | None = None) -> None:
        self._python = python
        self.service = service
        self.endpoint = endpoint or service.address

    def at(self, endpoint: str) -> Sdk:
        """The same, by way of another endpoint."""
        return Sdk(self._python, self.service, endpoint)

    def run(self, program: str, row: str, **arguments: Any) -> Any:
        """Run one row of a program to its end and return what it returns. Its failure is the test's."""
        done = subprocess.run(
            self._command(program, row, arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    @contextmanager
    def started(self, program: str, row: str, **arguments: Any) -> Iterator[Started]:
        """Run one row beside the test; it is killed at the end of the block."""
        process = subprocess.Popen(
            self._command(program, row, arguments),
            env=self._environment(),
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        try:
            yield Started(process)
        finally:
            process.kill()
            process.communicate()

    def _command(self, program: str, row: str, arguments: dict[str, Any]) -> list[str]:
        return [str(self._python), "-u", str(PROGRAMS / f"{program}.py"), row, json.dumps(arguments)]

    def _environment(self) -> dict[str, str]:
        """Nothing of ours: the SDK's Python must not find the packages of the one that runs the tests."""
        return {
            "PATH": os.environ["PATH"],
            "ENDPOINT": self.endpoint,
            "SERVICE": self.service.name,
            "TOKEN": TOKEN,
        }


class Started:
    """A program that runs beside its test and tells what it sees, a JSON value per line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def told(self) -> Any:
        """The next value; an error when the program has ended."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        return json.loads(line)

    def tell(self) -> None:
        """Let it go on from where it waits for a line."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """`kill -9`; returns when it is gone."""
        self.process.kill()
        self.process.wait()
