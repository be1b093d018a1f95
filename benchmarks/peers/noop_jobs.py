"""The job that does nothing, in a module of its own: RQ's worker imports it by name."""

from __future__ import annotations


def nothing() -> str:
    """The no-op job."""
    return "{}"
