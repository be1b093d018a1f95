"""Readiness asks the store once for many probes, and still notices that it broke."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from easel_gateway.ops import probe
from easel_store import LocalStore, StoreError


class Counting(LocalStore):
    """A real store that counts how often it was tried."""

    checks = 0

    def check(self) -> None:
        self.checks += 1
        super().check()


async def test_probes_share_one_answer(tmp_path: Path) -> None:
    store = Counting(tmp_path)
    shared = probe.StoreProbe(store)
    await asyncio.gather(*(shared.check() for _ in range(10)))
    assert store.checks == 1


async def test_a_store_that_breaks_is_noticed_and_so_is_its_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    shared = probe.StoreProbe(LocalStore(folder))
    monkeypatch.setattr(probe, "KEEP_S", 0.0)
    await shared.check()
    for path in folder.iterdir():
        path.rmdir()
    folder.rmdir()
    folder.write_text("a file where the directory should be")
    with pytest.raises(StoreError):
        await shared.check()
    folder.unlink()
    await shared.check()
