"""Go's duration text, which every EAS client writes in ``_timeout_``, and our reading of it."""

from __future__ import annotations

import re

_UNIT_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # U+00B5, what Go prints
    "μs": 1e-6,  # U+03BC, what Go also reads
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PART = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h))+\Z")
_BARE = re.compile(rf"{_NUMBER}\Z")


def parse_duration(text: str) -> float:
    """Seconds in ``1m30s``, ``500ms``, ``1h0m0s``; a number without a unit means seconds.

    Raises:
        ValueError: the text is empty, negative or not a duration.
    """
    if _BARE.match(text):
        return float(text)
    if _WHOLE.match(text):
        return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    raise ValueError(f"{text!r} is not a duration; write for example 5s, 500ms or 1m30s")


def format_duration(milliseconds: int) -> str:
    """The text Go prints for this many milliseconds: ``0s``, ``300ms``, ``2.091s``, ``1h0m5s``."""
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
