"""Query strings of the EAS dialect: reserved parameters and tags in one flat list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection

from easel_gateway.eas.durations import parse_duration
from easel_gateway.errors import ApiError
from easel_queue import REQUEST_ID_TAG

NEWEST = -1
"""Start index that means: the newest only."""

_GO_NEWEST = 2**64 - 1
"""How Go, whose index is unsigned, says NEWEST."""
_MAX_INDEX = 2**53 - 1
"""Indexes are kept as doubles by Redis; nothing larger is ever given out."""
MAX_FIELDS = 200
MAX_INDEXES = 10_000


@dataclass(frozen=True)
class Query:
    """One parsed query string. `reserved` holds the names that start and end with ``_``, `tags` the rest."""

    reserved: Mapping[str, str]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, connection: HTTPConnection) -> Query:
        """The query string of a request or WebSocket. Raises as `parse` does."""
        query_string: bytes = connection.scope["query_string"]  # `connection.url` would parse the whole URL
        return cls.parse(query_string)

    @classmethod
    def parse(cls, query_string: bytes) -> Query:
        """Read form-encoded text; of a repeated name the last value wins.

        Raises:
            ApiError: 400 with more than 200 parameters.
        """
        try:
            pairs = parse_qsl(
                query_string.decode("latin-1"),
                keep_blank_values=True,
                errors="replace",
                max_num_fields=MAX_FIELDS,
            )
        except ValueError as error:
            raise ApiError(400, f"query: at most {MAX_FIELDS} parameters") from error
        reserved: dict[str, str] = {}
        tags: dict[str, str] = {}
        for name, value in pairs:
            is_reserved = len(name) > 1 and name.startswith("_") and name.endswith("_")
            (reserved if is_reserved else tags)[name] = value
        return cls(reserved, tags)

    def __contains__(self, name: str) -> bool:
        return name in self.reserved

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean, as the clients write it: ``true``, ``false``, ``1``, ``0``."""
        text = self.reserved.get(name, "")
        if not text:
            return default
        value = {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
        if value is None:
            raise ApiError(400, f"{name}: use true or false, not {text!r}")
        return value

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """A whole number between `low` and `high`."""
        text = self.reserved.get(name, "")
        value = _whole(name, text) if text else default
        if not low <= value <= high:
            raise ApiError(400, f"{name}: use a number from {low} to {high}, not {text!r}")
        return value

    def seconds(self, name: str, *, longest: float) -> float:
        """A Go duration, cut to `longest`; absent means 0."""
        text = self.reserved.get(name, "")
        try:
            return min(parse_duration(text), longest) if text else 0.0
        except ValueError as error:
            raise ApiError(400, f"{name}: {error}") from error

    def start(self, *, default: int = 0) -> int:
        """``_index_`` of get and watch: inclusive, 0 is the head, -1 (or Go's 2**64 - 1) the newest."""
        text = self.reserved.get("_index_", "")
        value = _whole("_index_", text) if text else default
        if value in {NEWEST, _GO_NEWEST}:
            return NEWEST
        if value < 0:
            raise ApiError(400, f"_index_: use a number from -1 upwards, not {text!r}")
        return min(value, _MAX_INDEX)

    def indexes(self) -> tuple[int, ...]:
        """``_indexes_`` of commit and delete: numbers with commas between them, at least one."""
        text = self.reserved.get("_indexes_", "")
        values = tuple(_whole("_indexes_", part.strip()) for part in text.split(",") if part.strip())
        if not values:
            raise ApiError(400, "_indexes_: name at least one index, for example _indexes_=1,2")
        if len(values) > MAX_INDEXES:
            raise ApiError(400, f"_indexes_: at most {MAX_INDEXES} in one call")
        # What cannot be stored cannot be committed: it is left out, as an unknown index is.
        return tuple(value for value in values if 0 < value <= _MAX_INDEX)

    def wanted(self) -> tuple[str | None, dict[str, str]]:
        """What get and watch look for: the request id, and the other tags. Names with a leading ``_`` are not
        tags here, as in the Go SDK."""
        others = {name: value for name, value in self.tags.items() if not name.startswith("_")}
        return others.pop(REQUEST_ID_TAG, None) or None, others


def _whole(name: str, text: str) -> int:
    # int() alone also takes "1_000", " 7 " and other scripts' digits; 20 digits hold any uint64.
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise ApiError(400, f"{name}: {text!r} is not a whole number")
    return int(text)
