"""The control models in the data directory, and which one a client means.

ControlNets, control-LoRAs, T2I-adapters and IP-adapters lie in one folder, as the ControlNet extension has
them; what a file is, its weights tell.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easel_contract.errors import ContractError
from easel_contract.hashes import HashBook

FOLDER: Final = "ControlNet"
"""Below ``models/``."""

SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""Of single files. All but the first are pickles, which a worker opens only where it may."""

CONFIG: Final = "config.json"
"""The file that makes a folder a model of diffusers', with one of `WEIGHTS` beside it."""

WEIGHTS: Final = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
)

MAX_NAMED: Final = 20
"""Names that an error message lists."""

EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()[:8]
"""A1111's old hash of a file that ends before the piece which is read for it."""

_HASH = re.compile(r"\s*\[[0-9a-f]{4,64}\]\Z", re.IGNORECASE)


@dataclass(frozen=True)
class ControlFile:
    """One control model: a single file, or a diffusers folder.

    stem: Its name without suffix; with its sub-folder where another has the same. hash: Eight hex digits,
    A1111's old hash of the file, of a folder's weights.
    """

    stem: str
    path: Path
    hash: str

    @property
    def name(self) -> str:
        """What lists show and infotexts say: ``stem [hash]``."""
        return f"{self.stem} [{self.hash}]"


class ControlFiles:
    """The control models below `folder`, its sub-folders included. Any thread may ask.

    Directories are read at every look, so that a file copied in a moment ago is found; a file is read for its
    hash only when it has changed, and only 64 KiB of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes = HashBook()

    def files(self) -> list[ControlFile]:
        """All models by name, in any letter case."""
        found: dict[str, ControlFile] = {}
        for path, weights in _candidates(self.folder):
            plain = path.name if path != weights else path.stem
            inside = path.relative_to(self.folder).as_posix()
            longer = inside if path != weights else inside[: -len(path.suffix)]
            stem = next((name for name in (plain, longer, inside) if name not in found), inside)
            try:
                found[stem] = ControlFile(stem, path, self._hashes.old(weights) or EMPTY_HASH)
            except OSError:
                continue  # removed a moment ago, or a link that leads nowhere
        return sorted(found.values(), key=lambda file: file.stem.casefold())

    def resolve(self, name: str, *, field: str = "model") -> ControlFile:
        """The model that a client means: by its name, with or without the hash, which is not compared, in any
        letter case; else the shortest name that contains what was asked for.

        Raises:
            ContractError: 422 for `field`, names the models that there are.
        """
        files = self.files()
        asked = _HASH.sub("", name.strip())
        spellings = dict.fromkeys((asked, _without_suffix(asked)))
        for fold in (str, str.casefold):
            for spelling in spellings:
                for file in files:
                    if fold(spelling) in (fold(file.stem), fold(self._inside(file))):
                        return file
        part = asked.casefold()
        containing = [file for file in files if part and part in file.stem.casefold()]
        if containing:
            return min(containing, key=lambda file: (len(file.stem), file.stem))
        known = ", ".join(file.name for file in files[:MAX_NAMED]) or "none"
        more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
        raise ContractError(
            f"no model {name[:200]!r} in models/{self.folder.name}; there are: {known}{more}", field=field
        )

    def _inside(self, file: ControlFile) -> str:
        return _without_suffix(file.path.relative_to(self.folder).as_posix())


def _without_suffix(name: str) -> str:
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _candidates(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Every model and the file of its weights, the same for a single file; those nearest to the top first."""
    found: list[tuple[Path, Path]] = []
    seen: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    for here, folders, names in os.walk(folder, followlinks=True):
        path = Path(here)
        try:
            place = path.stat()
        except OSError:
            folders.clear()
            continue
        if (place.st_dev, place.st_ino) in seen:
            folders.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        weights = next((name for name in WEIGHTS if name in names), None)
        if path != folder and CONFIG in names and weights:
            folders.clear()
            found.append((path, path / weights))
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [path / name for name in names if not name.startswith(".")]
        found += [(file, file) for file in files if file.suffix.lower() in SUFFIXES]
    # Of two files with one stem the safetensors is known by it.
    order = {suffix: number for number, suffix in enumerate(SUFFIXES)}
    yield from sorted(
        found,
        key=lambda pair: (len(pair[0].parts), order.get(pair[1].suffix.lower(), 0), pair[0].as_posix()),
    )
