"""TAESD with random weights, in its own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file


def tiny_vae() -> Any:
    """diffusers' version of the networks, always with the same weights."""
    torch.manual_seed(0)
    return AutoencoderTiny().eval()


def write_taesd(folder: Path, family: str = "taesd") -> None:
    """The weights of `tiny_vae` as ``<family>_encoder.safetensors`` and ``<family>_decoder.safetensors``.

    diffusers counts the decoder's layers without the one that clamps.
    """
    tiny = tiny_vae()
    folder.mkdir(parents=True, exist_ok=True)
    for part, module, offset in (("encoder", tiny.encoder, 0), ("decoder", tiny.decoder, 1)):
        weights = {}
        for name, tensor in module.state_dict().items():
            number, _, rest = name.removeprefix("layers.").partition(".")
            weights[f"{int(number) + offset}.{rest}"] = tensor.contiguous()
        save_file(weights, folder / f"{family}_{part}.safetensors")
