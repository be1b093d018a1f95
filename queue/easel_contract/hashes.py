"""SHA-256 of model files: read once per version of a file, remembered in memory and on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20
# A1111's first hashes were of one piece of the file only.
_OLD_START, _OLD_LENGTH = 0x100000, 0x10000
_BODY = "#body"  # marks the hash of a file without its header


class HashBook:
    """Hashes by path, size and time of change. Any thread may ask; processes may share the file `store`, a
    JSON object. None: memory only. A file that cannot be written is no error: the next process reads again.
    """

    def __init__(self, store: Path | None = None) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._stored_at: int | None = None
        self._known: dict[str, dict[str, Any]] = {}
        self._old: dict[tuple[str, int, int], str] = {}
        self._pending: dict[str, Future[str]] = {}

    def known(self, paths: Sequence[Path], *, body: bool = False) -> str:
        """The hash of files read one after the other, 64 hex digits, empty where it was never computed.

        body: of a safetensors file without its header, so that what is written there changes nothing.
        """
        with self._lock:
            self._look()
            key, version = _version(paths, body=body)
            entry = self._known.get(key)
            return str(entry["sha256"]) if entry and entry.get("version") == version else ""

    def sha256(self, paths: Sequence[Path], *, body: bool = False) -> str:
        """The hash, computed when need be: about 1.5 s for 2 GB. One file at a time is read."""
        with self._reading:
            if found := self.known(paths, body=body):
                return found
            key, version = _version(paths, body=body)
            digest = hashlib.sha256()
            for path in paths:
                with path.open("rb") as file:
                    if body:
                        # A broken file may say anything about its header.
                        file.seek(min(8 + int.from_bytes(file.read(8), "little"), path.stat().st_size))
                    while block := file.read(_BLOCK):
                        digest.update(block)
            with self._lock:
                self._look()
                self._known[key] = {"version": version, "sha256": digest.hexdigest()}
                self._write()
            return digest.hexdigest()

    def soon(self, paths: Sequence[Path], *, body: bool = False) -> Future[str]:
        """The hash, computed by a thread of its own where it is not known; empty for files that cannot be
        read. The thread does not keep a process alive. body: see `known`."""
        future: Future[str] = Future()
        try:
            known = self.known(paths, body=body) if paths else ""
            version = repr(_version(paths, body=body)) if paths else ""
        except OSError:
            known = version = ""
        if known or not version:
            future.set_result(known)
            return future
        with self._lock:
            if version in self._pending:
                return self._pending[version]
            self._pending[version] = future

        def compute() -> None:
            try:
                future.set_result(self.sha256(paths, body=body))
            except OSError:
                future.set_result("")  # removed a moment ago
            except BaseException as error:  # noqa: BLE001 - whoever waits for the hash is told
                future.set_exception(error)
            finally:
                with self._lock:
                    del self._pending[version]

        threading.Thread(target=compute, name="easel-hash", daemon=True).start()
        return future

    def old(self, path: Path) -> str:
        """A1111's first kind of hash: 8 hex digits of 64 KiB from 1 MiB on; empty for shorter files."""
        stat = path.stat()
        key = str(path), stat.st_mtime_ns, stat.st_size
        if key not in self._old:
            with path.open("rb") as file:
                file.seek(_OLD_START)
                piece = file.read(_OLD_LENGTH)
            self._old[key] = hashlib.sha256(piece).hexdigest()[:8] if piece else ""
        return self._old[key]

    def _look(self) -> None:
        """Take in what other processes have stored."""
        if self._store is None:
            return
        try:
            changed = self._store.stat().st_mtime_ns
            if changed == self._stored_at:
                return
            stored = json.loads(self._store.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return
        self._stored_at = changed
        if isinstance(stored, dict):
            self._known |= {
                key: entry
                for key, entry in stored.items()
                if isinstance(entry, dict) and isinstance(entry.get("sha256"), str)
            }

    def _write(self) -> None:
        if self._store is None:
            return
        with contextlib.suppress(OSError):
            self._store.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._store.parent, prefix=".hashes-", delete=False
            ) as file:
                json.dump(self._known, file, indent=1, sort_keys=True)
            Path(file.name).chmod(0o644)
            Path(file.name).replace(self._store)
            self._stored_at = self._store.stat().st_mtime_ns


def _version(paths: Sequence[Path], *, body: bool) -> tuple[str, list[list[int]]]:
    """The key of some files, and what changes with each of them."""
    stats = [path.stat() for path in paths]
    return str(paths[0].absolute()) + _BODY * body, [[stat.st_size, stat.st_mtime_ns] for stat in stats]
