"""The upscalers and face restorers that a request may name, and the files that they need.

``None``, ``Lanczos`` and ``Nearest`` are always there. Every weights file in one of the folders below
``models/`` is an upscaler by the name of its stem; the names of A1111's own list stand for certain files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from easel_contract.errors import ContractError

NONE, LANCZOS, NEAREST = "None", "Lanczos", "Nearest"
BUILT_IN = (NONE, LANCZOS, NEAREST)
BUILT_IN_SCALE = 4
"""What A1111 lists for them; they enlarge by any factor."""

FOLDERS = ("ESRGAN", "RealESRGAN", "SwinIR", "DAT", "ScuNET")
"""Below ``models/``; where a name is in two of them, the first counts. The architecture is told by the file,
so that which folder it is in does not matter."""

SUFFIXES = (".safetensors", ".pth", ".pt")
"""Of weights, the preferred one first."""

MAX_NAMED = 20
"""Names that an error message lists."""

KNOWN = {
    "DAT x2": "DAT/DAT_x2",
    "DAT x3": "DAT/DAT_x3",
    "DAT x4": "DAT/DAT_x4",
    "ESRGAN_4x": "ESRGAN/ESRGAN_4x",
    "R-ESRGAN 2x+": "RealESRGAN/RealESRGAN_x2plus",
    "R-ESRGAN 4x+": "RealESRGAN/RealESRGAN_x4plus",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN/RealESRGAN_x4plus_anime_6B",
    "R-ESRGAN AnimeVideo": "RealESRGAN/realesr-animevideov3",
    "R-ESRGAN General 4xV3": "RealESRGAN/realesr-general-x4v3",
    "R-ESRGAN General WDN 4xV3": "RealESRGAN/realesr-general-wdn-x4v3",
    "ScuNET GAN": "ScuNET/scunet_color_real_gan",
    "ScuNET PSNR": "ScuNET/scunet_color_real_psnr",
    "SwinIR 4x": "SwinIR/SwinIR_4x",
}
"""A1111's own names, and the file that each means: as its authors publish it, without the suffix."""

RESTORERS = {"CodeFormer": "Codeformer/codeformer-v0.1.0", "GFPGAN": "GFPGAN/GFPGANv1.4"}
"""Face restorers and their files, likewise."""

DETECTOR = "detection_Resnet50_Final"
"""RetinaFace, which finds the faces: beside either restorer."""

_SCALE = re.compile(r"(?:^|[^0-9])([1-8])x|x([1-8])(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class UpscalerFile:
    """An upscaler; `path` is None for the built-in ones. `scale` is told by the name, 4 where it is not."""

    name: str
    path: Path | None
    scale: int


def list_upscalers(models: Path) -> list[UpscalerFile]:
    """All that can be used: the built-in ones, then files by name. Reads directories, no files.

    A file that one of A1111's names means goes by that name.
    """
    official = {stem: name for name, stem in KNOWN.items()}
    found: dict[str, UpscalerFile] = {}
    for folder in FOLDERS:
        for path in _weights(models / folder):
            name = official.get(f"{folder}/{path.stem}", path.stem)
            found.setdefault(name, UpscalerFile(name, path, _scale_of(path.stem)))
    built_in = [UpscalerFile(name, None, BUILT_IN_SCALE) for name in BUILT_IN]
    return built_in + sorted(found.values(), key=lambda upscaler: upscaler.name.casefold())


def find_upscaler(models: Path, name: str, *, field: str) -> UpscalerFile:
    """The upscaler that a client means, in any letter case.

    Raises:
        ContractError: 422: its file is missing (says which), or there is none of this name (says which are).
    """
    wanted = name.strip().casefold()
    upscalers = list_upscalers(models)
    for upscaler in upscalers:
        stem = upscaler.path.stem.casefold() if upscaler.path else ""
        if wanted in (upscaler.name.casefold(), stem):
            return upscaler
    for known, stem in KNOWN.items():
        if known.casefold() == wanted:
            raise missing_file(models, known, stem, field=field)
    names = [upscaler.name for upscaler in upscalers]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    raise ContractError(
        f"no upscaler {name[:200]!r}; there are: {', '.join(names[:MAX_NAMED])}{more}; put others into "
        f"{models / FOLDERS[0]}",
        field=field,
    )


def find_restorer(models: Path, name: str, *, field: str) -> Path:
    """The weights of a face restorer, by its name in any letter case. Any file in its folder serves.

    Raises:
        ContractError: 422: its file is missing (says which), or there is none of this name.
    """
    for known, stem in RESTORERS.items():
        if known.casefold() == name.strip().casefold():
            files = [path for path in _weights((models / stem).parent) if path.stem != DETECTOR]
            usual = (models / stem).name
            for path in sorted(files, key=lambda path: path.stem != usual):
                return path
            raise missing_file(models, known, stem, field=field)
    raise ContractError(f"no face restorer {name[:200]!r}; use {' or '.join(RESTORERS)}", field=field)


def find_detector(models: Path, name: str, *, field: str) -> Path:
    """The weights of the face detector, in the folder of any restorer.

    Raises:
        ContractError: 422, the file is missing.
    """
    folders = sorted({Path(stem).parent.as_posix() for stem in RESTORERS.values()}, reverse=True)
    for folder in folders:
        for path in _weights(models / folder):
            if path.stem == DETECTOR:
                return path
    raise missing_file(models, name, f"{folders[0]}/{DETECTOR}", field=field)


def missing_file(models: Path, name: str, stem: str, *, field: str) -> ContractError:
    """The refusal of a name whose file nobody has put there."""
    choices = " or ".join((models / f"{stem}{suffix}").as_posix() for suffix in SUFFIXES[:2])
    return ContractError(
        f"{name!r} needs a file that is missing: {choices}", field=field, kind="missing_file"
    )


def _weights(folder: Path) -> Iterator[Path]:
    """One path per stem, the preferred suffix first."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError:
        return
    seen: set[str] = set()
    for path in sorted(paths, key=lambda path: (path.stem, SUFFIXES.index(path.suffix.lower()))):
        if path.stem not in seen and not path.name.startswith("."):
            seen.add(path.stem)
            yield path


def _scale_of(stem: str) -> int:
    found = _SCALE.search(stem)
    return int(found[1] or found[2]) if found else 4
