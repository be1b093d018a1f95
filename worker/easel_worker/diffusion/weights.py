"""Reading a model folder's configuration and weights into a module, strictly.

The libraries' own `from_pretrained` may ask the hub, accept pickles, and start with random numbers in place
of weights whose names they do not recognise, telling only the log. Here a weight that is missing or does not
fit is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import load_file
from easel_worker.diffusion.placing import give, place, read_ahead

Rename = Callable[[str], str | None]
"""Maps a name in a file to the module's name for it; None drops the weight."""

_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_NAMED_AT_MOST = 5
# Attention weights of autoencoders saved before diffusers 0.15; see `_convert_deprecated_attention_blocks`.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder. Raises `CheckpointError` where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: expected a diffusers model folder that holds it") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} should hold a JSON object, not a {type(value).__name__}")
    return value


def load_weights(
    module: torch.nn.Module,
    folder: Path,
    stem: str,
    rename: Rename,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Fill `module`, which was built on torch's meta device, from `folder`'s safetensors.

    `stem` is the file name's beginning ("model", "diffusion_pytorch_model"); a sharded file and an fp16
    variant are found too. Floating-point weights become `dtype`. Raises `CheckpointError` naming missing,
    unexpected or wrongly shaped weights.
    """
    expected = module.state_dict()
    loaded: dict[str, torch.Tensor] = {}
    problems: list[str] = []
    unexpected: list[str] = []
    for stored, tensor in _stored_tensors(_weight_files(folder, stem)):
        name = rename(stored)
        if name is None:
            continue
        if name not in expected:
            unexpected.append(stored)
            continue
        wanted = expected[name].shape
        if tensor.shape != wanted:
            problems.append(f"{stored} has shape {tuple(tensor.shape)}, config.json asks for {tuple(wanted)}")
            continue
        loaded[name] = place(tensor, dtype=dtype, device=device)
    missing = sorted(expected.keys() - loaded.keys())
    if missing and not problems:
        problems.append(f"missing {_shorten(missing)}")
    if unexpected:
        problems.append(f"unexpected {_shorten(sorted(unexpected))}")
    if problems:
        raise CheckpointError(f"{folder}: the weights do not fit config.json: {_shorten(problems, '; ')}")
    give(module, loaded)


def keep_name(name: str) -> str:
    """The `Rename` of files that already use the module's names."""
    return name


def rename_clip(name: str) -> str | None:
    """CLIPTextModel: transformers 5.6 dropped the `text_model.` prefix.

    Older files hold a position_ids buffer, some a projection that Stable Diffusion 1.x does not use.
    """
    if name.endswith("position_ids") or name == "text_projection.weight":
        return None
    return name.removeprefix("text_model.")


def rename_clip_projected(name: str) -> str | None:
    """CLIPTextModelWithProjection, which kept the prefix."""
    return None if name.endswith("position_ids") else name


def rename_vae(name: str) -> str:
    """AutoencoderKL: attention weights under their old names, as in the SD 1.5 folder on the hub."""
    found = re.match(r"(.*\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)$", name)
    return f"{found[1]}.{_OLD_ATTENTION[found[2]]}.{found[3]}" if found else name


def _weight_files(folder: Path, stem: str) -> list[Path]:
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return [folder / name]
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = read_config(index).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise CheckpointError(f"{index}: weight_map should map weights to file names")
        return [folder / Path(name).name for name in sorted(set(shards.values()))]
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in _PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder}: {pickles[0]} is a pickle, which can run code when it is read;"
            f" convert it to {stem}.safetensors"
        )
    raise CheckpointError(f"{folder / f'{stem}.safetensors'} is missing")


def _stored_tensors(files: list[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    for path in files:
        yield from _read_file(path).items()


def _read_file(path: Path) -> dict[str, torch.Tensor]:
    try:
        read_ahead(path)
        # Tensors are views of the mapped file: nothing is read before it is converted.
        weights: dict[str, torch.Tensor] = load_file(str(path))
    except Exception as error:  # safetensors raises its own and the file system's errors
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    return weights


def _shorten(names: list[str], separator: str = ", ") -> str:
    shown = separator.join(names[:_NAMED_AT_MOST])
    return f"{shown} and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else shown
