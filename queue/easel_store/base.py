"""The storage seam: what every store does, its errors, and which keys it takes.

StoreError
├── NotFoundError    get: nothing is stored under this key
└── InvalidKeyError  any call: the key is no clean relative path, or belongs to Easel itself
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Protocol

MAX_KEY_BYTES = 1024
"""S3's limit for an object key, in UTF-8 bytes."""

MAX_SEGMENT_BYTES = 255
"""The usual file system's limit for one name; asked of S3 keys too, so that a key works in both stores."""

CLAIMS_FOLDER = "claims"
"""Where the queue's large bodies lie: below the data directory, or below the bucket's prefix."""

NUMBERS_FOLDER = "numbers"
"""Where workers settle who numbers the next picture: below the data directory, or below the bucket's
prefix."""

RESERVED_TOP_LEVEL = frozenset({"run", "redis", CLAIMS_FOLDER, NUMBERS_FOLDER})
"""Folders that hold secrets, the queue's files and its large bodies: never readable as pictures."""

INTERNAL_PREFIX = ".easel-"
"""Names of unfinished files; keys may not use it and `list` does not show it."""


class StoreError(Exception):
    """Storage did not do what was asked. The message says what to check; it never holds a credential."""


class NotFoundError(StoreError):
    """Nothing is stored under this key."""


class InvalidKeyError(StoreError):
    """The key is not one that a store takes. Nothing was read or written."""


class Store(Protocol):
    """Bytes under keys. Keys are relative POSIX paths such as ``outputs/txt2img-images/2026-01-01/1.png``.

    All calls block and may be made from any thread.
    """

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data`, replacing what was there; a reader sees the old or the new bytes, never a part."""
        ...

    def get(self, key: str) -> bytes:
        """The stored bytes. Raises NotFoundError."""
        ...

    def exists(self, key: str) -> bool:
        """Whether something is stored under `key`."""
        ...

    def delete(self, key: str) -> None:
        """Remove it; a key that holds nothing is no error."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """All keys that begin with the string `prefix` ("" for all), in order of their UTF-8 bytes."""
        ...

    def presigned_url(self, key: str, expires_s: int) -> str:
        """An address that anybody may GET for `expires_s` seconds. StoreError: there is no such thing."""
        ...

    def check(self) -> None:
        """Write, read and delete a probe; StoreError says what to do."""
        ...

    def tidy(self, older_than_s: float) -> int:
        """Remove what writers that died left unfinished for this long; how many. S3 servers do that by
        themselves, or by a lifecycle rule: 0."""
        ...


def check_key(key: str) -> str:
    """Return `key` unchanged if a store takes it.

    Raises:
        InvalidKeyError: as `check_path`, or inside a folder that belongs to Easel itself.
    """
    check_path(key)
    # casefold: macOS and Windows file systems would find `run` under `Run` too
    first = key.partition("/")[0]
    if first.casefold() in RESERVED_TOP_LEVEL:
        raise InvalidKeyError(f"key {key!r}: the folder {first!r} is Easel's own")
    return key


def check_path(key: str) -> str:
    """Return `key` unchanged if it is a clean relative path, wherever that leads.

    Raises:
        InvalidKeyError: absolute, empty, too long, with an empty, ``.`` or ``..`` segment, a backslash or a
            control character.
    """
    if not key or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise InvalidKeyError(f"key {key[:80]!r}: use 1 to {MAX_KEY_BYTES} bytes")
    if any(ord(char) < 32 or char in "\\\x7f" or "\ud800" <= char <= "\udfff" for char in key):
        raise InvalidKeyError(f"key {key!r}: no backslashes and no control characters")
    segments = key.split("/")
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise InvalidKeyError(f"key {key!r}: use a relative path without empty, '.' or '..' parts")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise InvalidKeyError(f"key {key!r}: each part may have at most {MAX_SEGMENT_BYTES} bytes")
        if segment.startswith(INTERNAL_PREFIX):
            raise InvalidKeyError(f"key {key!r}: names that begin with {INTERNAL_PREFIX!r} are Easel's own")
    return key


def probe(store: Store) -> None:
    """Write, read back and delete a few bytes under a fresh key. Shared by the stores' `check`."""
    key = f"easel-probe-{secrets.token_hex(8)}.txt"
    data = key.encode()
    store.put(key, data, "text/plain")
    try:
        if store.get(key) != data:
            raise StoreError(f"storage gave back other bytes than were written under {key!r}")
    finally:
        store.delete(key)
