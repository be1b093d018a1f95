"""What a preprocessor is: what it takes, and the files that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easel_contract.controlnet.sliders import Slider
from easel_contract.errors import ContractError

FOLDER: Final = "annotators"
"""Below ``models/``: the files that modules need."""

SAFETENSORS: Final = ".safetensors"
SINGLE: Final = (SAFETENSORS, ".pth", ".pt", ".bin")
"""Suffixes of a network in one file, the preferred one first."""

RESOLUTION: Final = Slider("Resolution", 64, 2048, 512, 8)
"""Pixels of the shorter side that most modules work at."""


@dataclass(frozen=True)
class Module:
    """One preprocessor.

    label: What A1111's pages call it; a request may name either. types: Control types that it serves.
    resolution: None where it works at the picture's own size. a, b: What `threshold_a` and `threshold_b` mean
    to it. weights: Files that it needs, below ``models/annotators``; a ``.safetensors`` of the same stem
    stands in for a pickle; a name without a suffix is a folder of transformers', with ``config.json`` and
    weights, or (where `tensor`) a single file of that stem. supported: Easel can run it, given these files;
    else `reason` says why not.
    model_free: It works without a model. needs_mask: It does nothing without a mask, except where the picture
    is outpainted. tensor: It makes embeddings for an adapter instead of a picture.
    """

    name: str
    label: str
    types: tuple[str, ...]
    resolution: Slider | None = RESOLUTION
    a: Slider | None = None
    b: Slider | None = None
    weights: tuple[str, ...] = ()
    supported: bool = True
    reason: str = ""
    model_free: bool = False
    needs_mask: bool = False
    tensor: bool = False

    @property
    def sliders(self) -> tuple[Slider, ...]:
        """Those that it has, in A1111's order."""
        return tuple(slider for slider in (self.resolution, self.a, self.b) if slider is not None)

    @property
    def refusal(self) -> str:
        """What a request is told that names it although it is not supported."""
        return f"{self.name!r} is not supported by this version of Easel" + (
            f": {self.reason}" if self.reason else ""
        )

    def files(self, models: Path) -> list[Path]:
        """Its weights below the directory `models`, where each is; the preferred path where it is missing."""
        return [_place(models / FOLDER / name, single=self.tensor) for name in self.weights]

    def missing(self, models: Path) -> list[Path]:
        """The files that somebody still has to put there."""
        return [path for path in self.files(models) if not _is_there(path)]

    def available(self, models: Path, *, allow_pickle: bool) -> bool:
        """Whether a unit may name it: Easel can run it, and its files are there and may be read."""
        try:
            self.require(models, allow_pickle=allow_pickle, field="module")
        except ContractError:
            return False
        return True

    def require(self, models: Path, *, allow_pickle: bool, field: str) -> None:
        """Refuse a module that cannot be run.

        Raises:
            ContractError: 422, names the files that are missing, or are pickles where those are not allowed.
        """
        if not self.supported:
            raise ContractError(self.refusal, field=field, kind="not_supported")
        if missing := self.missing(models):
            raise ContractError(
                f"{self.name!r} needs what is missing: {', '.join(path.as_posix() for path in missing)}",
                field=field,
                kind="missing_file",
            )
        pickles = [path for path in self.files(models) if path.suffix and path.suffix.lower() != SAFETENSORS]
        if pickles and not allow_pickle:
            raise ContractError(
                f"{self.name!r} needs {pickles[0].as_posix()}, which is a pickle and refused: convert it to "
                f"{SAFETENSORS}, or set EASEL_ALLOW_PICKLE=true",
                field=field,
                kind="pickle",
            )


def _place(path: Path, *, single: bool) -> Path:
    """Where a file or folder is; `single`: one file may stand in for the folder."""
    if _is_there(path):
        return path
    others = SINGLE if single and not path.suffix else (SAFETENSORS,) if path.suffix else ()
    beside = [path.with_suffix(suffix) for suffix in others]
    return next((other for other in beside if other.is_file()), path)


def _is_there(path: Path) -> bool:
    return path.is_file() if path.suffix else (path / "config.json").is_file()
