"""Which checkpoints there are, and which are in memory."""

from __future__ import annotations
