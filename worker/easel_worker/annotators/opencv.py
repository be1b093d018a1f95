"""The one door to OpenCV, loaded at its first use: its 15 MB are for preprocessors alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["cv2"]

if TYPE_CHECKING:
    import cv2
else:

    class _OpenCV:
        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module("cv2"), name)

    cv2 = _OpenCV()
