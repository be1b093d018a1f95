"""What is costly to make and stays as it is: made once, however many test processes want it at once."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path


def made_once(home: Path, make: Callable[[], object], *, of: bytes = b"") -> Path:
    """The folder `home`, which `make` filled from `of`; it is filled again only if `of` is another.

    One process makes it while the others wait. What was left half-made is made again.
    """
    complete = home / "complete"
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, also by a crash
        if not complete.exists() or complete.read_bytes() != of:
            complete.unlink(missing_ok=True)
            home.mkdir(exist_ok=True)
            make()
            complete.write_bytes(of)
    return home
