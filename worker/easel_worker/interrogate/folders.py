"""The folders that interrogation reads, and which of their files must be there."""

from __future__ import annotations

from pathlib import Path

from easel_contract.errors import ContractError

BLIP_FILES = ("config.json", "model.safetensors", "vocab.txt")
CLIP_FILES = ("config.json", "model.safetensors")


def blip_folder(models: Path) -> Path:
    """``models/BLIP``, complete.

    Raises:
        ContractError: 422, names the first missing file.
    """
    return _complete(models / "BLIP", BLIP_FILES)


def clip_folder(models: Path) -> Path:
    """``models/CLIP``, likewise."""
    return _complete(models / "CLIP", CLIP_FILES)


def word_lists(models: Path) -> list[Path]:
    """The lists whose phrases are ranked, by name; none is no ranking."""
    return sorted((models / "interrogate").glob("[!.]*.txt"))


def check(models: Path) -> None:
    """Whether all files are there. Raises as `blip_folder`."""
    blip_folder(models)
    if word_lists(models):
        clip_folder(models)


def _complete(folder: Path, files: tuple[str, ...]) -> Path:
    for name in files:
        if not (folder / name).is_file():
            raise ContractError(
                f"'clip' needs a file that is missing: {(folder / name).as_posix()}",
                field="model",
                kind="missing_file",
            )
    return folder
