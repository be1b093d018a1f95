"""The files of preprocessors: below ``models/annotators``, by their authors' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.weights import StateDict, read_weights

_WRAPPERS = ("state_dict", "model", "params", "depth_model")
"""Keys below which a file may have its weights."""
_PREFIX = "module."
"""What torch's DataParallel puts before every name."""


def load_into(network: Any, path: Path, device: torch.device, *, allow_pickle: bool) -> Any:
    """`network` with the weights of a file, on its device, in float32, for inference.

    Raises:
        WeightsError: the file cannot be read, or holds the weights of something else; names it.
    """
    return fill(network, read(path, allow_pickle=allow_pickle), path).to(device)


def read(path: Path, *, allow_pickle: bool) -> StateDict:
    """The weights of a file by name, without what wraps them.

    Raises:
        WeightsError: the file cannot be read.
    """
    weights = read_weights(path, allow_pickle=allow_pickle)
    for key in _WRAPPERS:
        inner = weights.get(key)
        if isinstance(inner, dict):
            weights = inner
            break
    return {name.removeprefix(_PREFIX): value for name, value in weights.items()}


def fill(network: Any, weights: StateDict, path: Path) -> Any:
    """`network` with these weights, all of them.

    Raises:
        WeightsError: one is missing, unknown or of another shape; names the file and the first of them.
    """
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} is not the file of this preprocessor: {reason}") from error
    return network.float().eval()
