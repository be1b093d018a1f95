"""`save_dir`: from the path a client names to a key in the store, and back to what the client sees.

Requests written for the cloud name an absolute path under the storage's mount; their programs replace that
mount by the bucket's address, so answers must start with exactly the path given. A mount stands for the
store's root: ``/mnt/data/outputs`` with mount ``/mnt/data`` is the key prefix ``outputs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from easel_contract.errors import ContractError

SAVE_DIR = "alwayson_scripts.save_dir"
_MAX = 512


@dataclass(frozen=True)
class SaveDir:
    """Where a task's files go. Both parts have no trailing slash; `key_prefix` may be empty."""

    key_prefix: str
    shown_prefix: str

    def key(self, name: str) -> str:
        """Store key of a file below this directory."""
        return f"{self.key_prefix}/{name}" if self.key_prefix else name

    def shown(self, name: str) -> str:
        """The path the client is told."""
        return f"{self.shown_prefix}/{name}" if self.shown_prefix else name


def resolve_save_dir(save_dir: str, mounts: Sequence[str], *, field: str = SAVE_DIR) -> SaveDir:
    """Map a client's `save_dir`, or another folder that came as `field`, to the store.

    Raises:
        ContractError: 422 for a path that leaves the store ('..', a foreign absolute path) or is not a path.
    """
    if not save_dir.strip():
        raise ContractError("is empty; name a directory such as 'outputs', or leave it out", field=field)
    if len(save_dir) > _MAX:
        raise ContractError(f"is longer than {_MAX} characters", field=field)
    if "\\" in save_dir or any(ord(letter) < 32 or ord(letter) == 127 for letter in save_dir):
        raise ContractError("has a backslash or a control character; use a plain POSIX path", field=field)
    parts = [part for part in save_dir.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ContractError(f"{save_dir!r} leaves the storage: '..' is not allowed", field=field)
    if any(part.startswith("~") for part in parts[:1]):
        raise ContractError(f"{save_dir!r}: '~' is not expanded; name a directory", field=field)
    if not save_dir.startswith("/"):
        return SaveDir("/".join(parts), "/".join(parts))
    for mount in sorted(mounts, key=len, reverse=True):
        base = [part for part in mount.split("/") if part]
        if parts[: len(base)] == base:
            return SaveDir("/".join(parts[len(base) :]), "/" + "/".join(parts))
    known = ", ".join(mounts) or "none is configured"
    raise ContractError(
        f"{save_dir!r} is not under a mounted path; start it with one of: {known}; or use a relative path",
        field=field,
    )
