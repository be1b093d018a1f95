"""A1111's running numbers (``00000-<seed>.png``), each given once although many workers share one store.

A store can only put, get, list and delete: there is no "create if absent" that a directory, NFS and every S3
server do alike. That is enough. Each number is guarded by a *splitter* (Moir and Anderson, "Wait-free
algorithms for fast, long-lived renaming", 1995; the idea is Lamport's fast mutex): two registers, `last` and
`door`, of which whoever comes writes its name into `last`, gives up if the door is shut, shuts it, and has
the number if `last` still holds its name. At most one of any number of processes succeeds, in whatever order
their calls arrive; those that fail go on with a later number. So numbers are unique, and a race may leave
gaps.
"""

from __future__ import annotations

import re
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from easel_store import NotFoundError, Store

_MAX_DIGITS = 9
"""Longer numbers in a file's name are seeds."""

_BINARY = "application/octet-stream"


class Numbers:
    """Gives out the numbers of the folders of one store. Any thread may ask.

    Args:
        store: Where the numbered files go.
        registers: A store of the same reach for the splitters' registers, `easel_store.numbers_store`. They
        are
            deleted when the file is there.
    """

    def __init__(self, store: Store, registers: Store) -> None:
        self._store = store
        self._registers = registers
        self._lock = threading.Lock()
        self._next: dict[tuple[str, str], int] = {}

    @contextmanager
    def take(self, folder: str, prefix: str = "", *, digits: int = 5) -> Iterator[int]:
        """The next free number in `folder`: one more than the highest there, 0 in an empty one.

        Store the file inside of the ``with``. If that fails, the number stays unused.

        Args:
            folder: Key of the folder, without a slash at its end.
            prefix: What stands before the number in the files' names (``grid-``).
            digits: Numbers are written with at least so many.
        """
        base = f"{folder}/" if folder else ""
        files = _Files(base, prefix, digits)
        number = self._hint(files)
        lost = 0
        while True:
            place = f"{base}{prefix}{number}"
            if self._claim(place):
                if number not in files.numbers(self._store, f"{number:0{digits}}"):
                    break
                # Somebody was faster, and has tidied up already. The next numbers may be taken as well.
                self._release(place)
                number = max(number, files.highest(self._store)) + 1
            else:
                # Jumps of random length end a race in which nobody ever wins because all keep the same pace.
                number += 1 + secrets.randbelow(1 + lost)
                lost += 1
        with self._lock:
            self._next[base, prefix] = number + 1
        yield number
        # Only now: whoever claims the number from here on finds its file.
        self._release(place)

    def _hint(self, files: _Files) -> int:
        with self._lock:
            known = self._next.get((files.base, files.prefix))
        return files.highest(self._store) + 1 if known is None else known

    def _claim(self, place: str) -> bool:
        me = uuid.uuid4().hex.encode()
        self._registers.put(f"{place}.last", me, _BINARY)
        if self._registers.exists(f"{place}.door"):
            return False
        self._registers.put(f"{place}.door", b"shut", _BINARY)
        try:
            return self._registers.get(f"{place}.last") == me
        except NotFoundError:  # its owner has just released it
            return False

    def _release(self, place: str) -> None:
        self._registers.delete(f"{place}.door")
        self._registers.delete(f"{place}.last")


@dataclass(frozen=True)
class _Files:
    """The numbered files directly in one folder. `base` is the folder with its slash."""

    base: str
    prefix: str
    digits: int

    def numbers(self, store: Store, begin: str = "") -> set[int]:
        """Those of the files whose numbers begin with the digits `begin`."""
        # The cloud's names begin with digits too, and a UUID behind those.
        pattern = re.compile(
            rf"(\d{{{self.digits},{_MAX_DIGITS}}})(?!-[0-9a-f]{{8}}-[0-9a-f]{{4}}-)[-.][^/]*\Z"
        )
        start = len(self.base + self.prefix)
        keys = store.list(self.base + self.prefix + begin)
        return {int(match[1]) for key in keys if (match := pattern.match(key, start))}

    def highest(self, store: Store) -> int:
        """-1 in an empty folder."""
        return max(self.numbers(store), default=-1)
