"""A call: one script, its keys and arguments, and how to read the answer.

Calls are values. `Queue.run` sends one from a thread, `AsyncQueue.run` from an event loop; what a call means
is written once, in `task_calls` and `stream_calls`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from easel_queue.model import Body, Claim

T = TypeVar("T")
Arg = bytes | str | int

# What redis-py gives back for a script: bytes, int, None, or nested lists of those.
Raw = Any


@dataclass(frozen=True)
class Call(Generic[T]):
    """One script invocation.

    `repeatable` calls may be sent again when the connection broke midway. A `durable` one accepts or ends
    something: where the queue is told to, it waits until replicas have it.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[Arg, ...]
    read: Callable[[Raw], T]
    repeatable: bool = True
    durable: bool = False


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
"""Made once: json.dumps makes one for every call that wants other than its defaults."""


def to_json(value: Mapping[str, object]) -> str:
    """Compact JSON, as stored."""
    return _ENCODER.encode(value) if value else "{}"


def split_body(body: Body) -> tuple[bytes, str]:
    """A body as two arguments of a script: its data, and its claim. One of them is empty."""
    return (b"", str(body)) if isinstance(body, Claim) else (body, "")


def text(value: bytes | str | int | None) -> str:
    """Redis text; None is the empty string."""
    if value is None:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)


def mapping(value: bytes | str | None) -> dict[str, Any]:
    """A stored JSON object; nothing stored is an empty one."""
    if not value:
        return {}
    loaded = json.loads(value)
    return loaded if isinstance(loaded, dict) else {}


def chunks(values: Sequence[Raw], size: int) -> list[Sequence[Raw]]:
    """A flat reply cut into records of `size` fields."""
    return [values[start : start + size] for start in range(0, len(values), size)]
