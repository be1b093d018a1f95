"""Which of CLIP's image encoders a unit looks through."""

from __future__ import annotations

import re
from pathlib import Path

from easel_contract.controlnet import ControlFile, ControlUnit
from easel_contract.errors import ContractError
from easel_worker.diffusion.attention.clip_vision import find_clip_vision
from easel_worker.diffusion.errors import CheckpointError

AUTO = "ip-adapter-auto"
_EYES = {
    "ip-adapter_clip_sd15": "clip_h",
    "ip-adapter_clip_sdxl": "clip_g",
    "ip-adapter_clip_sdxl_plus_vith": "clip_h",
    "revision_clipvision": "clip_g",
    "revision_ignore_prompt": "clip_g",
}
"""By module."""
_OF_CLIP_G = re.compile(r"ip-adapter_(sd15_vit-g|sdxl)\Z", re.IGNORECASE)
_OF_FACES = re.compile(r"faceid|face-id|pulid", re.IGNORECASE)


def eyes_for(asked: ControlUnit, file: ControlFile | None) -> str:
    """``clip_h`` or ``clip_g``: by the module; for ``ip-adapter-auto`` by the model's name, as A1111 has it.

    Raises:
        ContractError: 422, the unit needs a face's embedding, which nothing here makes.
    """
    if asked.module != AUTO or file is None:
        if asked.module not in _EYES:
            raise ContractError(
                f"{asked.module!r} looks for faces, which this version of Easel cannot",
                field=f"{asked.field}.module",
            )
        return _EYES[asked.module]
    if _OF_FACES.search(file.stem):
        raise ContractError(
            f"{file.name} takes the embedding of a face, which this version of Easel cannot make",
            field=f"{asked.field}.model",
        )
    return "clip_g" if _OF_CLIP_G.match(file.stem.rsplit("/", 1)[-1]) else "clip_h"


def require_eyes(models: Path, name: str, *, allow_pickle: bool, field: str) -> Path:
    """The encoder's file. Raises ContractError, 422, where it is missing, or a pickle that may not be
    opened."""
    try:
        return find_clip_vision(models, name, allow_pickle=allow_pickle)
    except FileNotFoundError as error:
        raise ContractError(str(error), field=field, kind="missing_file") from None
    except CheckpointError as error:
        raise ContractError(str(error), field=field) from None
