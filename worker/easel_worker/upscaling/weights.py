"""Reads the weights of a network, without ever running what a file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.libraries import load_file
from easel_worker.upscaling.errors import WeightsError

StateDict = dict[str, Any]


def read_weights(path: Path, *, allow_pickle: bool) -> StateDict:
    """The tensors of a safetensors file, or of a pickle (.pth, .pt) where those are allowed.

    A pickle is read by torch's restricted reader, which makes tensors and plain containers and nothing else.

    Raises:
        WeightsError: the file is gone, broken, or a pickle that is not allowed.
    """
    if path.suffix.lower() != ".safetensors" and not allow_pickle:
        raise WeightsError(
            f"{path} is a pickle, which is refused: convert it to safetensors, or set EASEL_ALLOW_PICKLE=true"
        )
    try:
        if path.suffix.lower() == ".safetensors":
            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # readers of hostile bytes raise whatever they stumble over
        raise WeightsError(f"{path} cannot be read: {_first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} holds a {type(loaded).__name__} and no named weights")
    return loaded


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
