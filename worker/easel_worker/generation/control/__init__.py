"""ControlNet units in a generation: from what a request asks for to what passes and the answer get of it."""

from __future__ import annotations
