"""Which files and folders of the model directory are checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

INDEX = "model_index.json"
"""The file that makes a folder a diffusers checkpoint."""

SAFETENSORS, CKPT = ".safetensors", ".ckpt"

_BESIDE = ".vae"


@dataclass(frozen=True)
class ModelFile:
    """One checkpoint on disk: a diffusers folder, or a single file.

    name: its path below the model directory, without suffix; with it where a folder or another file has the
    same without. stamp: changes when it is replaced, or what lies beside a file. file_name: a single file's
    path below the model directory, with suffix; empty for a folder.
    """

    name: str
    path: Path
    stamp: tuple[int, int]
    file_name: str = ""

    @property
    def stem(self) -> str:
        """What infotexts call it: without sub-folders and suffix."""
        return self.path.stem if self.file_name else self.path.name

    @property
    def title(self) -> str:
        """What clients see, before the hash."""
        return self.file_name or self.name

    def as_it_is_now(self) -> ModelFile | None:
        """The same with today's stamp; None where it is gone."""
        try:
            return replace(
                self, stamp=_file_stamp(self.path) if self.file_name else _stamp(self.path / INDEX)
            )
        except OSError:
            return None

    @property
    def is_pickle(self) -> bool:
        return self.file_name.lower().endswith(CKPT)


def find_models(folder: Path) -> dict[str, ModelFile]:
    """All checkpoints below a directory by name, sorted.

    Folders are looked into until one is a checkpoint itself: its files are its parts. Hidden ones are left
    out, and ``<name>.vae.safetensors``, which belongs to the checkpoint of that name.
    """
    found: dict[str, ModelFile] = {}
    # The shorter name is a folder's first, then that of the file which nothing can be run from.
    for path in sorted(
        _candidates(folder), key=lambda path: (path.is_file(), path.suffix.lower() == CKPT, path)
    ):
        inside = path.relative_to(folder).as_posix()
        try:
            if path.is_file():
                plain = inside[: -len(path.suffix)]
                name = inside if plain in found else plain
                found[name] = ModelFile(name, path, _file_stamp(path), inside)
            else:
                found[inside] = ModelFile(inside, path, _stamp(path / INDEX))
        except OSError:
            continue  # removed a moment ago, or a link that leads nowhere
    return dict(sorted(found.items()))


def _candidates(folder: Path) -> Iterator[Path]:
    # A link may lead back to a folder above it.
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        path = Path(here)
        place = path.stat()
        key = place.st_dev, place.st_ino
        if key in seen:
            folders.clear()
            continue
        seen.add(key)
        if INDEX in files and path != folder:
            folders.clear()
            yield path
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = path / name
            is_model = file.suffix.lower() in (SAFETENSORS, CKPT) and not name.startswith(".")
            if is_model and not file.stem.lower().endswith(_BESIDE):
                yield file


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino


def _file_stamp(path: Path) -> tuple[int, int]:
    """The file's own, with the times of what decides beside it how it is read."""
    changed, inode = _stamp(path)
    for beside in (path.with_name(f"{path.stem}{_BESIDE}{SAFETENSORS}"), path.with_suffix(".yaml")):
        try:
            changed += beside.stat().st_mtime_ns
        except OSError:
            continue
    return changed, inode
