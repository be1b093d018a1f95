"""From any text to a part of a file's name."""

from __future__ import annotations

import re

MAX_VALUE_CHARS = 128
"""Of one token's value, A1111's limit."""

MAX_PATTERN_BYTES = 200
"""Of all that one filled pattern names, in UTF-8. File systems end at 255 for one name, S3 at 1024 for a key;
the number, a suffix and the output folder come on top."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff#<>:"/\\|?*]')


def sanitise(text: str, *, spaces: bool = True) -> str:
    """A token's value: what a file system or an address would trip over becomes ``_``, at most 128
    characters.

    Args:
        spaces: Keep them; otherwise they become ``_`` too.
    """
    text = _FORBIDDEN.sub("_", text).strip(" .")
    if not spaces:
        text = text.replace(" ", "_")
    return text[:MAX_VALUE_CHARS].strip(" .")


def safe_parts(path: str) -> list[str]:
    """The folders and the name in a filled pattern, none of which leads anywhere else.

    Empty parts, ``.`` and ``..`` vanish. What is longer than `MAX_PATTERN_BYTES` is cut, the first folders
    first.
    """
    room = MAX_PATTERN_BYTES
    parts: list[str] = []
    for part in reversed(path.split("/")):
        text = _FORBIDDEN.sub("_", part).strip(" .").encode()[:room].decode(errors="ignore").strip(" .")
        if text:
            parts.insert(0, text)
            room -= len(text.encode()) + 1
        if room <= 0:
            break
    return parts
