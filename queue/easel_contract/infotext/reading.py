"""Reading an infotext. Works in time linear to the text, whoever wrote it."""

from __future__ import annotations

import re

from easel_contract.infotext.defaults import DEFAULTS, EMPHASIS, uses_emphasis
from easel_contract.infotext.values import unquote
from easel_contract.infotext.writing import NEGATIVE
from easel_contract.samplers import SCHEDULERS

MIN_PAIRS = 3
"""A last line with fewer pairs belongs to the prompt."""

_KEY = re.compile(r"\s*(\w[\w \-/]+):\s*")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"\s*(?=,|\Z)')
_SIZE = re.compile(r"([0-9]+)x([0-9]+)\Z")
_SCHEDULES = sorted(
    ((name.casefold(), item.label) for item in SCHEDULERS for name in (item.label, item.name, *item.aliases)),
    key=lambda pair: len(pair[0]),
    reverse=True,
)


def parse(text: str) -> dict[str, object]:
    """The prompts and parameters of an infotext.

    Sizes are split in two (``Size`` into ``Size-1``, ``Size-2``); an old sampler name with a schedule behind
    it is split into ``Sampler`` and ``Schedule type``; A1111's defaults are added. Values stay text, except
    for those defaults. Damaged text is no error: what is no pair is passed over.
    """
    lines = text.strip().split("\n")
    pairs = _pairs(lines[-1])
    if len(pairs) >= MIN_PAIRS:
        lines.pop()
    else:
        pairs = []
    prompt, negative = _prompts(lines)
    found: dict[str, object] = {"Prompt": prompt, "Negative prompt": negative}
    for key, value in pairs:
        size = _SIZE.match(value)
        if size:
            found[f"{key}-1"], found[f"{key}-2"] = size.groups()
        else:
            found[key] = unquote(value)
    sampler = found.get("Sampler")
    if isinstance(sampler, str) and "Schedule type" not in found:
        found["Sampler"], schedule = split_sampler(sampler)
        if schedule:
            found["Schedule type"] = schedule
    for key, default in DEFAULTS.items():
        found.setdefault(key, default)
    if "Emphasis" not in found and (uses_emphasis(prompt) or uses_emphasis(negative)):
        found["Emphasis"] = EMPHASIS
    return found


def split_sampler(name: str) -> tuple[str, str | None]:
    """An old sampler name and the label of the schedule at its end: ``DPM++ 2M Karras``, ``LMS`` (None)."""
    folded = name.casefold()
    for ending, label in _SCHEDULES:
        if folded.endswith(" " + ending):
            return name[: -len(ending) - 1].rstrip(), label
    return name, None


def _prompts(lines: list[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in (line.strip() for line in lines):
        if target is prompt and line.startswith(NEGATIVE):
            target = negative
            line = line[len(NEGATIVE) :].strip()
        target.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _pairs(line: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(line):
        match = _KEY.match(line, position)
        if match is None:
            # Not a pair: go on behind the next comma, as a reader of a damaged line would.
            comma = line.find(",", position)
            if comma < 0:
                break
            position = comma + 1
            continue
        start = match.end()
        quoted = _QUOTED.match(line, start) if line[start : start + 1] == '"' else None
        end = quoted.end() if quoted else line.find(",", start)
        if end < 0:
            end = len(line)
        found.append((match[1].strip(), line[start:end].strip()))
        position = end + 1
    return found
