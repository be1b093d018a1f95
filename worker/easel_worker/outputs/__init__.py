"""From arrays to files: PNG, grids, names and places."""

from __future__ import annotations
