"""A call: one script, its keys and arguments, and how to read the answer.

Calls are values. `Queue.run` sends one from a thread, `AsyncQueue.run` from an event loop; what a call means
is written once, in `task_calls` and `stream_calls`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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


def to_json(value: Mapping[str, object]) -> str:
    """Compact JSON, as stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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
