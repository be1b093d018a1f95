"""The VAEs in the model directory, and which one a request means by a name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from easel_contract.checkpoint_files import ModelFile
from easel_contract.errors import ContractError

AUTOMATIC, NONE = "Automatic", "None"
"""Values of `sd_vae` that name no file: the VAE beside the checkpoint, or else its own; always its own."""

CONFIG = "config.json"
"""The file that makes a folder a VAE in diffusers' format."""

MAX_NAMED = 20
"""Names that an error message lists."""

SAFETENSORS = ".safetensors"
PICKLES = (".ckpt", ".pt")
_BESIDE = ".vae"


@dataclass(frozen=True)
class VaeFile:
    """One VAE on disk: a file, or a folder in diffusers' format.

    name: what `sd_vae` calls it: its file's name with suffix; with its folders where another has the same.
    stamp: changes when it is replaced.
    """

    name: str
    path: Path
    stamp: tuple[int, int]

    @property
    def is_pickle(self) -> bool:
        return self.path.suffix.lower() in PICKLES

    @property
    def weights(self) -> list[Path]:
        """The files that its hash is of."""
        return [self.path] if self.path.is_file() else sorted(self.path.glob("*.safetensors"))


class VaeFolder:
    """The files below ``models/VAE``, and as A1111 lists them ``<checkpoint>.vae.*`` beside checkpoints.

    Directories are read at every look, so that a file copied in a moment ago is found. Any thread may ask.
    """

    def __init__(self, models: Path) -> None:
        """`models`: the data directory's folder of that name."""
        self.folder = models / "VAE"
        self._checkpoints = models / "Stable-diffusion"

    def files(self) -> tuple[VaeFile, ...]:
        """All VAEs, sorted by name."""
        found: dict[str, VaeFile] = {}
        for top, paths in (
            (self.folder, _candidates(self.folder)),
            (self._checkpoints, _besides(self._checkpoints)),
        ):
            for path in sorted(paths):
                name = path.name if path.name not in found else path.relative_to(top).as_posix()
                if name not in found and (file := _described(path, name)) is not None:
                    found[name] = file
        return tuple(sorted(found.values(), key=lambda file: (file.name.casefold(), file.name)))

    def resolve(self, name: str, *, field: str = "sd_vae") -> VaeFile:
        """The VAE that a client means: by its name, its path below the folder, or either without suffix, each
        in any letter case where only one fits.

        Raises:
            ContractError: 422 naming `field` and the VAEs there are.
        """
        asked = name.strip()
        files = self.files()
        for spellings in (_names, _stems):
            for fold in (str, str.casefold):
                fits = [file for file in files if fold(asked) in map(fold, spellings(file, self.folder))]
                if len(fits) == 1:
                    return fits[0]
                if fits:
                    break
        known = ", ".join([AUTOMATIC, NONE, *(file.name for file in files[:MAX_NAMED])])
        more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
        raise ContractError(f"no VAE {name[:200]!r} in models/VAE; use one of {known}{more}", field=field)

    def beside(self, model: ModelFile) -> VaeFile | None:
        """The VAE that belongs to a checkpoint by its name, ``<stem>.vae.safetensors`` before a pickle."""
        if not model.file_name:
            return None
        for suffix in (SAFETENSORS, *PICKLES):
            path = model.path.with_name(f"{model.path.stem}{_BESIDE}{suffix}")
            if path.is_file():
                return _described(path, path.name)
        return None


def _names(file: VaeFile, folder: Path) -> tuple[str, ...]:
    if file.path.is_relative_to(folder):
        return file.name, file.path.relative_to(folder).as_posix()
    return (file.name,)


def _stems(file: VaeFile, folder: Path) -> tuple[str, ...]:
    suffix = file.path.suffix if file.path.is_file() else ""
    return tuple(name.removesuffix(suffix) for name in _names(file, folder))


def _described(path: Path, name: str) -> VaeFile | None:
    try:
        stat = (path / CONFIG if path.is_dir() else path).stat()
    except OSError:
        return None  # removed a moment ago, or a link that leads nowhere
    return VaeFile(name, path, (stat.st_mtime_ns, stat.st_size))


def _candidates(folder: Path) -> Iterator[Path]:
    for here, folders, files in _walk(folder):
        if CONFIG in files and here != folder:
            folders.clear()
            yield here
            continue
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in (SAFETENSORS, *PICKLES):
                yield here / name


def _besides(folder: Path) -> Iterator[Path]:
    for here, _, files in _walk(folder):
        for name in files:
            path = here / name
            if path.suffix.lower() in (SAFETENSORS, *PICKLES) and path.stem.lower().endswith(_BESIDE):
                yield path


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    # A link may lead back to a folder above it.
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        stat = Path(here).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(here), folders, files
