"""What a file below models/ControlNet is: told by the names of its weights, never by its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.stored import open_weights

ControlKind = Literal["controlnet", "union", "lora", "t2i", "ip-adapter"]
"""ip-adapter: read by another loader, named here so that callers can tell."""

# By a part of a weight's name. The first that fits counts.
_REFUSED = (
    ("difference", 'a ControlNet of differences to its checkpoint ("difference"): convert it to a whole one'),
    ("style_embedding", "a T2I style adapter, which is not supported"),
    ("lllite_unet", "a ControlNet-LLLite, which is not supported"),
    ("motion_modules.", "a SparseCtrl or motion model, which is not supported"),
    ("base_to_control", "a ControlNet-XS, which is not supported"),
    ("double_blocks.", "a ControlNet for Flux, which is not supported"),
    ("x_embedder.", "a ControlNet for another architecture than Stable Diffusion 1, 2 or XL"),
    ("pos_embed.", "a ControlNet for Stable Diffusion 3, which is not supported"),
    ("lora_unet_", "a LoRA: it belongs into models/Lora"),
)
_KINDS: tuple[tuple[str, ControlKind], ...] = (
    ("ip_adapter.", "ip-adapter"),
    ("image_proj.", "ip-adapter"),
    ("lora_controlnet", "lora"),
    ("task_embedding", "union"),
    ("zero_convs.", "controlnet"),
    ("controlnet_down_blocks.", "controlnet"),
    ("body.0.", "t2i"),
)


def find_kind(names: Iterable[str]) -> ControlKind:
    """The kind of a file that has weights with these names.

    Raises:
        CheckpointError: it is something else, which the message names as far as it is known.
    """
    known = tuple(names)
    for part, what in _REFUSED:
        if any(part in name for name in known):
            raise CheckpointError(f"this is {what}")
    for part, kind in _KINDS:
        if any(part in name for name in known):
            return kind
    if any(name.startswith("model.diffusion_model.") for name in known):
        raise CheckpointError("this is a checkpoint: it belongs into models/Stable-diffusion")
    raise CheckpointError(
        "no weight has a name of a ControlNet, control-LoRA, T2I-adapter or IP-adapter; supported are those"
        " of Stable Diffusion 1.x, 2.x and XL"
    )


def file_kind(path: Path, *, allow_pickle: bool = False) -> ControlKind:
    """The kind of a file or of a diffusers folder's weights, read from names alone. Raises `CheckpointError`,
    naming the file."""
    with open_weights(weights_file(path), torch.device("cpu"), allow_pickle=allow_pickle) as stored:
        try:
            return find_kind(stored.shapes)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error


def weights_file(path: Path) -> Path:
    """The file with the weights: `path`, or what a diffusers folder keeps them in."""
    if not path.is_dir():
        return path
    for name in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(f"{path / 'diffusion_pytorch_model.safetensors'} is missing")
