"""What the worker can do: one handler per address that a task may name."""

from __future__ import annotations
