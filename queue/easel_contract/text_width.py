"""How wide a checkpoint's text is: what decides which textual inversions fit it, told without its weights."""

from __future__ import annotations

import json
from pathlib import Path

from easel_contract.checkpoint_files import ModelFile
from easel_contract.model_files import read_header

_TOKENS = "token_embedding.weight"
"""How the names of both libraries' token tables end: (tokens, width)."""

_ENCODERS = ("text_encoder", "text_encoder_2")
"""Parts of a diffusers folder."""


def text_width(model: ModelFile) -> int | None:
    """The widths of a checkpoint's text encoders, added up, as `embedding_size` tells an embedding's: 768 for
    SD1, 1024 for SD2, 2048 for SDXL. None where no file tells, as of a pickle."""
    try:
        width = _of_file(model.path) if model.file_name else _of_folder(model.path)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return width or None


def _of_file(path: Path) -> int:
    shapes = read_header(path).shapes
    return sum(shape[-1] for name, shape in shapes.items() if name.endswith(_TOKENS) and len(shape) == 2)


def _of_folder(folder: Path) -> int:
    configs = [folder / part / "config.json" for part in _ENCODERS]
    said = [json.loads(path.read_bytes()) for path in configs if path.is_file()]
    return sum(int(config["hidden_size"]) for config in said)
