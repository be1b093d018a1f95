"""Styles: prompts that an operator keeps in the data directory, and how they join a request's.

``styles.csv`` has A1111's columns: ``name``, ``prompt``, ``negative_prompt``. The gateway lists it, the
worker applies it, and both see a changed file at the next look.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from easel_contract.errors import ContractError

log = logging.getLogger(__name__)

FILE_NAME = "styles.csv"
PLACEHOLDER = "{prompt}"
"""Where a style's text has this, the request's prompt goes in there; otherwise the style follows it."""

MAX_BYTES = 4 * 1024**2
"""A larger file is no list of styles; it is not read."""

_MAX_NAMED = 20


@dataclass(frozen=True)
class Style:
    """One row of the file; `prompt` and `negative_prompt` may be empty."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


class StyleBook:
    """The styles of one file, read again when it changes. Any thread may ask.

    A missing file has no styles. One that cannot be read has none either, and the log says why, once:
    requests that name no style must not fail for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._styles: dict[str, Style] = {}

    def styles(self) -> dict[str, Style]:
        """By name, in the file's order. Of two rows with one name the later counts."""
        try:
            stat = self.path.stat()
        except OSError:
            return {}
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._styles = _read(self.path, stat.st_size)
                except (OSError, ValueError, csv.Error) as error:
                    log.error("no styles: %s cannot be read as CSV in UTF-8: %s", self.path, error)
                    self._styles = {}
            return dict(self._styles)


def apply_styles(
    prompt: str,
    negative_prompt: str,
    names: Collection[str],
    styles: Mapping[str, Style],
    *,
    strict: bool = True,
    max_chars: int = 20_000,
) -> tuple[str, str]:
    """Join styles to a pair of prompts, in the order of `names`.

    A name is found in any letter case where its exact spelling is unknown. "None" and "" are no style.

    Args:
        strict: An unknown name is an error; otherwise it is passed over, as A1111 does.
        max_chars: Longest prompt that may come out: a placeholder can stand in a style more than once, so a
            few styles can make any length.

    Raises:
        ContractError: 422, an unknown name (the message lists those there are) or too long a prompt.
    """
    if strict:
        for problem in unknown_styles(names, styles):
            raise ContractError(problem, field="styles")
    for name in names:
        style = _find(name, styles)
        if style is not None:
            prompt = _join(style.prompt, prompt, name, max_chars)
            negative_prompt = _join(style.negative_prompt, negative_prompt, name, max_chars)
    return prompt, negative_prompt


def unknown_styles(names: Collection[str], styles: Mapping[str, Style]) -> list[str]:
    """What is wrong with each of `names` that is no style; each message lists those there are."""
    return [
        _unknown(name, styles)
        for name in names
        if name.strip().casefold() not in ("", "none") and _find(name, styles) is None
    ]


def _find(name: str, styles: Mapping[str, Style]) -> Style | None:
    if name in styles:
        return styles[name]
    folded = name.strip().casefold()
    return next((style for known, style in styles.items() if known.casefold() == folded), None)


def _join(text: str, prompt: str, name: str, max_chars: int) -> str:
    places = text.count(PLACEHOLDER)
    # Counted before it is built: the product of a few styles may not fit into memory.
    length = len(text) + places * (len(prompt) - len(PLACEHOLDER)) if places else len(text) + len(prompt)
    if text.strip() and length > max_chars:
        raise ContractError(
            f"with the style {name[:200]!r} the prompt has {length} characters; at most {max_chars}",
            field="styles",
            kind="too_large",
        )
    if places:
        return text.replace(PLACEHOLDER, prompt)
    return ", ".join(part for part in (prompt.strip(), text.strip()) if part) if text.strip() else prompt


def _unknown(name: str, styles: Mapping[str, Style]) -> str:
    known = ", ".join(list(styles)[:_MAX_NAMED]) or "none"
    more = f" and {len(styles) - _MAX_NAMED} more" if len(styles) > _MAX_NAMED else ""
    return f"no style {name[:200]!r} in {FILE_NAME}; there are: {known}{more}"


def _read(path: Path, size: int) -> dict[str, Style]:
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes, and at most {MAX_BYTES} are read")
    # A spreadsheet may have put a byte order mark at the front.
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), restval="")
    found: dict[str, Style] = {}
    for row in rows:
        name = (row.get("name") or "").strip()
        if name and name.casefold() != "none":
            # Files from before negative prompts call the column "text".
            prompt = row.get("prompt") or row.get("text") or ""
            found[name] = Style(name, prompt, row.get("negative_prompt") or "")
    return found
