"""The one door to OpenCV, loaded at its first use: its 15 MB are for preprocessors alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cv2 import *  # noqa: F403 - all of it, under its own names
else:

    def __getattr__(name: str) -> Any:
        return getattr(importlib.import_module("cv2"), name)
