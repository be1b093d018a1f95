"""Networks beside the checkpoints, in the cache: counted, kept by use, read again when a file changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from easel_worker.models.budget import Fixed
from easel_worker.models.cache import ModelCache
from easel_worker.models.shelf import ANNOTATOR, UPSCALER, CacheShelf, OneOfEach, Shelf, nbytes_of

CPU = torch.device("cpu")
NBYTES = 4 * (2 * 2 + 2)
"""Of `network`."""


def network() -> Any:
    """A module somewhere inside of an object, as a library's detector has it."""
    return SimpleNamespace(parts={"body": [SimpleNamespace(model=nn.Linear(2, 2))]}, device=CPU)


def file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"0")
    return path


def cache_of(nbytes: int) -> ModelCache:
    return ModelCache(CPU, on_device=Fixed(0), in_ram=Fixed(nbytes), free=lambda: None)


def cached() -> Shelf:
    cache = cache_of(10**6)
    return CacheShelf(lambda: cache)


def held(cache: ModelCache) -> list[tuple[str, str, int]]:
    return [(one.kind, one.name, one.nbytes) for one in cache.held()]


def test_they_share_the_budget_and_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    cache = cache_of(2 * NBYTES)
    shelf = CacheShelf(lambda: cache)
    hed, esrgan, midas = (file(tmp_path, name) for name in ("hed.pth", "esrgan.pth", "midas.pth"))
    first = shelf.get(ANNOTATOR, "hed", [hed], network)
    shelf.get(UPSCALER, "esrgan", [esrgan], network)
    assert shelf.get(ANNOTATOR, "hed", [hed], network) is first
    assert held(cache) == [(UPSCALER, "esrgan", NBYTES), (ANNOTATOR, "hed", NBYTES)]

    shelf.get(ANNOTATOR, "midas", [midas], network)
    assert held(cache) == [(ANNOTATOR, "hed", NBYTES), (ANNOTATOR, "midas", NBYTES)]

    with cache.job():
        for name, path in (("hed", hed), ("midas", midas), ("esrgan", esrgan)):
            shelf.get(ANNOTATOR, name, [path], network)
        assert len(held(cache)) == 3, "a task's own stay until its end"

    shelf.forget(ANNOTATOR)
    assert held(cache) == []


@pytest.mark.parametrize("make", [OneOfEach, cached])
def test_a_network_is_read_again_when_one_of_its_files_changes(
    make: Callable[[], Shelf], tmp_path: Path
) -> None:
    shelf = make()
    body, face = file(tmp_path, "body.pth"), file(tmp_path, "face.pth")
    both = shelf.get(ANNOTATOR, "body", [body, face], network)
    assert shelf.get(ANNOTATOR, "body", [body, face], network) is both
    os.utime(face, ns=(1, 1))
    changed = shelf.get(ANNOTATOR, "body", [body, face], network)
    assert changed is not both
    assert shelf.get(ANNOTATOR, "body", [body], network) is not changed
    os.utime(body, ns=(1, 1))
    assert shelf.get(ANNOTATOR, "body", [body, face], network) is not changed


def test_what_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    cache = cache_of(10**6)

    def broken() -> Any:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        CacheShelf(lambda: cache).get(ANNOTATOR, "hed", [file(tmp_path, "hed.pth")], broken)
    assert held(cache) == []


def test_weights_are_counted_once_wherever_they_are() -> None:
    layer = nn.BatchNorm1d(3)
    buffers = 3 * 4 + 3 * 4 + 8
    assert nbytes_of(layer) == 2 * 3 * 4 + buffers
    inside: dict[str, Any] = {"a": layer, "b": [nn.Sequential(layer)]}
    inside["itself"] = inside
    assert nbytes_of(SimpleNamespace(inside=inside, text="x", device=CPU)) == nbytes_of(layer)
    assert nbytes_of(object()) == 0
