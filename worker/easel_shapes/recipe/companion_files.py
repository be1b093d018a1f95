"""Writes the trained companions as other programs read them: a control-LoRA, and LoRAs in kohya-ss' names.

A control-LoRA (Stability AI's "Control-LoRA" files) holds the ControlNet's own layers whole and of the copied
encoder only the factors of a difference: weight = UNet's + up @ down. Names are those of the LDM ControlNet.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from easel_shapes.recipe.low_rank import LowRank
from easel_shapes.recipe.networks import UNET_CONFIG
from easel_shapes.recipe.train_control import ControlTrainee
from easel_shapes.recipe.train_lora import LoraTrainee
from easel_shapes.single_file import unet_name
from easel_worker.diffusion.libraries import load_file, save_file

_MARK = "lora_controlnet"  # an empty tensor by which readers know the format
_PARAMETRIZED = ".parametrizations.weight."


def write_control_lora(trainee: ControlTrainee, path: Path) -> None:
    """The ControlNet as one fp16 file."""
    weights = {_MARK: torch.zeros(0)}
    for name, tensor in trainee.trained.items():
        if _PARAMETRIZED in name:
            module, _, factor = name.partition(_PARAMETRIZED)
            part = factor.removeprefix("0.")
            shaped = (
                tensor.reshape(*tensor.shape, 1, 1) if part == "up" and _is_conv(trainee, module) else tensor
            )
            weights[control_name(f"{module}.weight").removesuffix("weight") + part] = shaped
        else:
            weights[control_name(name)] = tensor
    _write(
        path,
        weights,
        {"modelspec.title": "easel-shapes edges", "modelspec.architecture": "sd-v1/control-lora"},
    )


def control_name(name: str) -> str:
    """LDM's name of a diffusers ControlNet weight of this model's layout."""
    if name.startswith("controlnet_cond_embedding."):
        layer, _, rest = name.removeprefix("controlnet_cond_embedding.").rpartition(".")
        last = 2 * len(_hint_layers()) - 2
        place = {"conv_in": 0, "conv_out": last}.get(layer)
        index = 2 * int(layer.removeprefix("blocks.")) + 2 if place is None else place
        return f"input_hint_block.{index}.{rest}"
    if name.startswith("controlnet_down_blocks."):
        index_, rest = name.removeprefix("controlnet_down_blocks.").split(".", 1)
        return f"zero_convs.{index_}.0.{rest}"
    if name.startswith("controlnet_mid_block."):
        return f"middle_block_out.0.{name.removeprefix('controlnet_mid_block.')}"
    return unet_name(name, dict(UNET_CONFIG))


def _hint_layers() -> list[str]:
    """The hint encoder's convolutions in order, by diffusers' names."""
    return ["conv_in", *(f"blocks.{index}" for index in range(6)), "conv_out"]


def _is_conv(trainee: ControlTrainee, module: str) -> bool:
    return isinstance(trainee.network.get_submodule(module), torch.nn.Conv2d)


def merge_control_lora(path: Path, unet: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A plain ControlNet, diffusers' names: what a file of `write_control_lora` makes of the UNet's weights.

    For programs that know no control-LoRAs, and for tests.
    """
    file = {name: tensor.float() for name, tensor in load_file(str(path)).items()}
    state: dict[str, torch.Tensor] = {}
    for name, base in unet.items():
        if name.startswith(("up_blocks.", "conv_norm_out.", "conv_out.")):
            continue
        theirs = control_name(name)
        stem = theirs.removesuffix("weight")
        if f"{stem}up" in file:
            difference = file[f"{stem}up"].flatten(1) @ file[f"{stem}down"].flatten(1)
            state[name] = base.float() + difference.view_as(base)
        else:
            state[name] = file.get(theirs, base.float())
    own = [f"controlnet_cond_embedding.{layer}" for layer in _hint_layers()]
    own += [
        f"controlnet_down_blocks.{n}"
        for n in range(sum(".0.weight" in k and "zero_convs" in k for k in file))
    ]
    for module in (*own, "controlnet_mid_block"):
        for part in ("weight", "bias"):
            state[f"{module}.{part}"] = file[control_name(f"{module}.{part}")]
    return state


def write_kohya(trainee: LoraTrainee, path: Path, *, model_name: str) -> None:
    """The LoRA as one fp16 file with kohya-ss' names and metadata; alpha is the rank."""
    weights: dict[str, torch.Tensor] = {}
    lora = trainee.lora
    for name, difference in trainee.differences.items():
        stem = f"lora_unet_{name.replace('.', '_')}"
        weights[f"{stem}.lora_down.weight"], weights[f"{stem}.lora_up.weight"] = _factors(difference)
        weights[f"{stem}.alpha"] = torch.tensor(float(lora.rank))
    words = Counter({lora.trigger: 1} if lora.trigger else {})
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(lora.rank),
        "ss_network_alpha": str(float(lora.rank)),
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": model_name,
        "ss_v2": "False",
        "ss_output_name": path.stem,
        "ss_resolution": "(128, 128)",
        "ss_steps": str(trainee.steps),
        "ss_tag_frequency": json.dumps({"drawings": dict(words)} if words else {}),
        "ss_training_comment": lora.about,
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.title": path.stem,
        "modelspec.trigger_phrase": lora.trigger,
        "modelspec.prediction_type": "v",
    }
    _write(path, weights, metadata)


def split_kohya(path: Path) -> dict[str, torch.Tensor]:
    """What a file of `write_kohya` adds to the UNet's weights at weight 1, as matrices.

    By the modules' names with underscores, as kohya writes them behind its prefix.
    """
    file = {name: tensor.float() for name, tensor in load_file(str(path)).items()}
    differences = {}
    for name, down in file.items():
        stem, found, _ = name.partition(".lora_down.")
        if found:
            strength = file[f"{stem}.alpha"] / len(down)
            up = file[f"{stem}.lora_up.weight"]
            differences[stem.removeprefix("lora_unet_")] = strength * up.flatten(1) @ down.flatten(1)
    return differences


def _factors(difference: LowRank) -> tuple[torch.Tensor, torch.Tensor]:
    """(down, up), with the 1 x 1 of a convolution at both."""
    ones = (1,) * (difference.down.ndim - 2)
    return difference.down, difference.up.reshape(*difference.up.shape, *ones)


def _write(path: Path, weights: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.detach().half().cpu().contiguous() for name, tensor in weights.items()}
    save_file(half, str(path), metadata={"format": "pt", **metadata})
    path.chmod(0o644)  # safetensors makes files that their owner alone can read
