"""File name patterns: text with tokens such as ``[seed]`` or ``[datetime<%Y%m%d>]`` in it."""

from __future__ import annotations

import re

from easel_worker.outputs.tokens import Subject, value_of

_TOKEN = re.compile(r"\[([A-Za-z_]+)((?:<[^<>]*>)*)\]")
_ARGUMENT = re.compile(r"<([^<>]*)>")


def fill(pattern: str, subject: Subject) -> str:
    """The pattern with its tokens replaced by what they stand for.

    A token with nothing to tell (``[batch_number]`` of a batch of one) vanishes together with the text
    between it and the token before. An unknown token stays as it is. Values are safe for file names; the
    pattern's own text is not, so the whole goes through `safe_parts`.
    """
    filled: list[str] = []
    position = 0
    for match in _TOKEN.finditer(pattern):
        before = pattern[position : match.start()]
        position = match.end()
        try:
            value = value_of(match[1], _ARGUMENT.findall(match[2]), subject)
        except KeyError:
            filled.append(before + match[0])
            continue
        if value is not None:
            filled.append(before + value)
    return "".join(filled) + pattern[position:]
