"""Enlarging pictures: Lanczos, Nearest, and the networks whose files lie under ``models/``.

    Upscalers.get("4x_foo") ──► Upscaler: (picture, size) ──► picture of that size
      ├── built in: Pillow's filters
      └── network.py: a file's network in tiles (tiles.py), read by weights.py, built by architectures.py

A file's architecture is told by its keys, through the library spandrel. torch is imported only when the first
network is loaded.
"""

from __future__ import annotations

from easel_worker.upscaling.upscalers import Upscaler, Upscalers

__all__ = ["Upscaler", "Upscalers"]
