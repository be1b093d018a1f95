"""Many clients, and several gateways: real processes over the test run's Redis."""

from __future__ import annotations

from ..hostile.conftest import start_process

__all__ = ["start_process"]
