"""What a watcher did, in a file that outlives it: one line per event, appended by one unbuffered write.

::

    <monotonic ns> open   <connection>                       before it connects
    <monotonic ns> got    <connection> <index> <request id> <code>
    <monotonic ns> commit <connection> <index>               before it is sent for the first time
    <monotonic ns> acked  <connection> <index>               the gateway has answered OK

The clock is the machine's, so lines of several processes can be compared.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


class Diary:
    """Writes one watcher's events."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *words: object) -> None:
        """Append one event. What is written survives the writer's SIGKILL: it is the kernel's by then."""
        os.write(self._file, f"{time.monotonic_ns()} {' '.join(map(str, words))}\n".encode())


@dataclass(frozen=True)
class Event:
    """One line. `index` is 0 for ``open``; `request_id` and `code` belong to ``got``."""

    at: int
    what: str
    connection: str
    index: int = 0
    request_id: str = ""
    code: int = 0


def read_diary(path: Path) -> list[Event]:
    """All events of one watcher, oldest first."""
    return [_event(line) for line in path.read_text().splitlines()] if path.exists() else []


def _event(line: str) -> Event:
    at, what, connection, *rest = line.split(" ")
    index = int(rest[0]) if rest else 0
    request_id, code = (rest[1], int(rest[2])) if len(rest) > 1 else ("", 0)
    return Event(int(at), what, connection, index, request_id, code)
