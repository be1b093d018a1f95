"""Infotext: the text chunk that says how a picture was made, written and read.

Layout: the prompt (any number of lines); a line ``Negative prompt: …`` when there is one; one last line of
``Key: value`` pairs separated by commas. A value with a comma, colon or line break is written as JSON text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from easel_contract.samplers import SCHEDULERS

NEGATIVE = "Negative prompt:"

_KEY = re.compile(r"\s*(\w[\w \-/]*):\s*")
_SIZE = re.compile(r"(\d+)x(\d+)\Z")
_SCHEDULES = sorted((item.label for item in SCHEDULERS), key=len, reverse=True)

_DEFAULTS: dict[str, object] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}


def quote(value: object) -> str:
    """A value as it stands behind its key."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(letter in text for letter in ",:\n") else text


def unquote(text: str) -> str:
    """The value that `quote` was given. Text that only looks quoted is left alone."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        try:
            loaded = json.loads(text)
        except ValueError:
            return text
        return loaded if isinstance(loaded, str) else text
    return text


def build(prompt: str, negative_prompt: str, parameters: Mapping[str, object]) -> str:
    """Infotext of one picture. `parameters` keep their order; those that are None are left out."""
    lines = [prompt]
    if negative_prompt:
        lines.append(f"{NEGATIVE} {negative_prompt}")
    pairs = (
        key if key == str(value) else f"{key}: {quote(value)}"
        for key, value in parameters.items()
        if value is not None
    )
    lines.append(", ".join(pairs))
    return "\n".join(lines)


def parse(text: str) -> dict[str, object]:
    """The parameters of an infotext: sizes split in two (``Size-1``, ``Size-2``), A1111's defaults added."""
    lines = text.strip().split("\n")
    pairs = _pairs(lines[-1])
    if len(pairs) >= 3:
        lines = lines[:-1]
    else:
        pairs = []

    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(NEGATIVE):
            target = negative
            line = line[len(NEGATIVE) :].strip()
        target.append(line)

    found: dict[str, object] = {"Prompt": "\n".join(prompt), "Negative prompt": "\n".join(negative)}
    for key, value in pairs:
        size = _SIZE.match(value)
        if size:
            found[f"{key}-1"], found[f"{key}-2"] = size.groups()
        else:
            found[key] = unquote(value)
    _split_schedule(found)
    for key, default in _DEFAULTS.items():
        found.setdefault(key, default)
    if any(bracket in "\n".join(prompt + negative) for bracket in "(["):
        found.setdefault("Emphasis", "Original")
    return found


def _pairs(line: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    while True:
        match = _KEY.match(line, position)
        if match is None:
            # Not a pair: go on behind the next comma, as a reader of a damaged line would.
            comma = line.find(",", position)
            if comma < 0:
                return found
            position = comma + 1
            continue
        end = _value_end(line, match.end())
        found.append((match[1].strip(), line[match.end() : end].strip()))
        if end >= len(line):
            return found
        position = end + 1


def _value_end(line: str, start: int) -> int:
    """Where the value that begins at `start` ends: at a comma outside of JSON quotes, or the line's end."""
    if line[start : start + 1] == '"':
        try:
            _, length = json.JSONDecoder().raw_decode(line[start:])
        except ValueError:
            pass
        else:
            behind = start + length
            if line[behind : behind + 1] in (",", ""):
                return behind
    comma = line.find(",", start)
    return len(line) if comma < 0 else comma


def _split_schedule(found: dict[str, object]) -> None:
    """``Sampler: DPM++ 2M Karras`` of older pictures is a sampler and a schedule type."""
    sampler = found.get("Sampler")
    if "Schedule type" in found or not isinstance(sampler, str):
        return
    for label in _SCHEDULES:
        if sampler.endswith(" " + label):
            found["Sampler"] = sampler[: -len(label) - 1]
            found["Schedule type"] = label
            return
