"""Jobs that do nothing, in a module of their own: RQ's worker imports them by name."""

from __future__ import annotations


def nothing() -> bytes:
    """The no-op job."""
    return b"{}"
