"""`__all__` is exactly what a package exports."""

from __future__ import annotations

import types

import easel_queue


def test_queue_exports_what_it_says() -> None:
    public = {
        name
        for name, value in vars(easel_queue).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert public == set(easel_queue.__all__)
