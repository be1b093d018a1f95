"""Pictures in a directory: a disk, or a network share mounted on every machine (the EAS "NAS" case)."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from easel_store.base import (
    INTERNAL_PREFIX,
    RESERVED_TOP_LEVEL,
    InvalidKeyError,
    NotFoundError,
    StoreError,
    check_key,
    probe,
)


class LocalStore:
    """A `Store` under `root`. Writes are atomic and durable: fsync, rename, fsync of the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """The file of `key`. Raises InvalidKeyError."""
        return self.root / check_key(key)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """See `Store.put`; a file has no content type, readers go by its suffix."""
        path = self.path(key)
        unfinished = path.parent / f"{INTERNAL_PREFIX}{secrets.token_hex(8)}"
        try:
            _make_folders(path.parent)
            try:
                with unfinished.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise
            _fsync_folder(path.parent)
        except OSError as exc:
            raise self._failed("write", path, exc) from exc

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        path = self.path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFoundError(f"nothing is stored under {key!r}") from None
        except OSError as exc:
            raise self._failed("read", path, exc) from exc

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        return self.path(key).is_file()

    def delete(self, key: str) -> None:
        """See `Store.delete`; folders stay, as A1111 leaves its dated folders."""
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
        except (IsADirectoryError, NotADirectoryError):
            return
        except OSError as exc:
            if path.is_dir():  # macOS answers EPERM for a folder
                return
            raise self._failed("delete", path, exc) from exc

    def list(self, prefix: str) -> Iterator[str]:
        """See `Store.list`."""
        if prefix.startswith("/") or "\\" in prefix or ".." in prefix.split("/"):
            raise InvalidKeyError(f"prefix {prefix!r}: use a relative path without '..'")
        folder = self.root / prefix.rpartition("/")[0]
        found: list[str] = []
        for parent, folders, files in os.walk(folder):
            relative = Path(parent).relative_to(self.root).as_posix()
            base = "" if relative == "." else f"{relative}/"
            if not base:
                folders[:] = [name for name in folders if name.casefold() not in RESERVED_TOP_LEVEL]
            found += [
                base + name
                for name in files
                if not name.startswith(INTERNAL_PREFIX) and (base + name).startswith(prefix)
            ]
        found.sort(key=os.fsencode)
        return iter(found)

    def presigned_url(self, key: str, expires_s: int) -> str:
        """Always StoreError: a directory has no address that outsiders could open."""
        raise StoreError("presigned addresses need S3 storage: set EASEL_S3_ENDPOINT, or do not ask for them")

    def check(self) -> None:
        """See `Store.check`."""
        probe(self)

    def tidy(self, older_than_s: float) -> int:
        """See `Store.tidy`."""
        before = time.time() - older_than_s
        removed = 0
        for parent, _, files in os.walk(self.root):
            for name in files:
                if name.startswith(INTERNAL_PREFIX):
                    with contextlib.suppress(OSError):  # its writer lives and was faster
                        unfinished = Path(parent, name)
                        if unfinished.stat().st_mtime < before:
                            unfinished.unlink()
                            removed += 1
        return removed

    def _failed(self, doing: str, path: Path, exc: OSError) -> StoreError:
        return StoreError(
            f"cannot {doing} {path}: {exc.strerror or exc}; "
            f"check the owner, permissions and free space of {self.root} (EASEL_DATA_DIR)"
        )


def _make_folders(folder: Path) -> None:
    """Make the folder and its parents, durably."""
    made = []
    while not folder.is_dir():
        made.append(folder)
        folder = folder.parent
    for new in reversed(made):
        new.mkdir(exist_ok=True)
        _fsync_folder(new.parent)


def _fsync_folder(folder: Path) -> None:
    """Make the rename itself durable. Some network shares refuse to sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
