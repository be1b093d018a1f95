"""The run folder: one `easel up` per data directory, and where its processes can be found."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any


class AlreadyRunningError(Exception):
    """Another `easel up` holds this data directory. The message names its pid where that is known."""


class RunFolder:
    """``<data dir>/run``: a lock that dies with its process, and up.json for tests and the doctor.

    up.json is readable by its owner only: it holds the private Redis address with its password.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "run"
        self.file = self.path / "up.json"
        self._lock: int | None = None

    def lock(self) -> None:
        """Take the folder. The kernel gives it back when this process ends, however it ends.

        Raises:
            AlreadyRunningError: somebody has it.
            OSError: the folder cannot be made or written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            pid = (self.read() or {}).get("pid")
            by = f" (pid {pid})" if pid else ""
            raise AlreadyRunningError(
                f"another `easel up`{by} runs with the data directory {self.path.parent}; "
                "stop it first, or give --data-dir another folder"
            ) from None
        self._lock = handle
        self.remove()  # a killed predecessor's

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def held(self) -> bool:
        """Whether some `easel up` runs here now."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def write(self, record: dict[str, Any]) -> None:
        """Replace up.json in one step."""
        fresh = self.file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(record, file, indent=1)
        fresh.replace(self.file)

    def read(self) -> dict[str, Any] | None:
        """What up.json says, or None."""
        try:
            record = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def remove(self) -> None:
        """Remove up.json."""
        with contextlib.suppress(OSError):
            self.file.unlink()
