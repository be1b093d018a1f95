"""One value of an infotext's last line: how it is quoted, and read back."""

from __future__ import annotations

import json

_NEED_QUOTES = frozenset(",:\n\r")


def quote(value: object) -> str:
    """A value as it stands behind its key: JSON text where a comma, a colon or a line break would mislead.

    Text that would not be read back as it is (blanks around it, a quote in front, which a later one may be
    taken to close) is quoted too; a quote inside of it is left alone. A whole float is written without its
    fraction: 7.0 is ``7``.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if not _NEED_QUOTES.isdisjoint(text) or text.startswith('"') or text.strip() != text:
        return json.dumps(text, ensure_ascii=False)
    return text


def unquote(text: str) -> str:
    """The value that `quote` was given. Text that only looks quoted is left alone."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        loaded = json.loads(text)
    except ValueError:
        return text
    return loaded if isinstance(loaded, str) and _is_text(loaded) else text


def _is_text(loaded: str) -> bool:
    """False for half of a surrogate pair: JSON can spell it, no answer can be encoded with it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in loaded)
