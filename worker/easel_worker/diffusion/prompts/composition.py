"""``AND``: several prompts for one picture, each with a weight."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MAX_PART_WEIGHT = 1000.0
"""Weights are cut to plus and minus this, so that the sum of the parts stays a number."""

_AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


@dataclass(frozen=True)
class Part:
    """One of the prompts that a picture should follow, and how strongly; 1 is neutral, below 0 repels."""

    text: str
    weight: float = 1.0


def split_parts(prompt: str) -> list[Part]:
    """Cut a positive prompt at the whole word AND, in capitals; at least one part, maybe empty.

    ``: 0.5`` at the end of a part is its weight, also where there is only one part. White space before the
    weight and at a part's end goes; at its beginning it stays. Brackets do not protect an AND.
    """
    return [_read_part(text) for text in _AND.split(prompt)]


def _read_part(text: str) -> Part:
    before, colon, behind = text.rpartition(":")
    number = behind.strip()
    if colon and _NUMBER.fullmatch(number):
        weight = float(number)
        if math.isfinite(weight):
            return Part(before.rstrip(), max(-MAX_PART_WEIGHT, min(MAX_PART_WEIGHT, weight)))
    return Part(text.rstrip())
