"""A checkpoint's modules by every name that files use for them.

| style | example |
|---|---|
| kohya-ss, diffusers' blocks | `lora_unet_down_blocks_0_…_attn1_to_q`, `lora_te_text_model_…` |
| kohya-ss, LDM's blocks | `lora_unet_input_blocks_1_1_…_attn1_to_q`, `lora_te1_…`, `lora_te2_…` |
| diffusers and peft | `unet.down_blocks.0.attentions.0.….to_q`, `text_encoder.…`, `text_encoder_2.…` |
| diffusers' first | `down_blocks.0.….attn1.processor.to_q` |
| LDM, with dots | `diffusion_model.input_blocks.1.1.….to_q` |

All become one style: the part of the model, and the path with underscores. No two modules share one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint

Side = Literal["unet", "text"]
"""Which of a tag's two multipliers acts on a module."""

_UNET, _FIRST, _SECOND = "unet", "te1", "te2"
_PREFIXES = (
    ("base_model_model_", _UNET),
    ("lora_unet_", _UNET),
    ("oft_unet_", _UNET),
    ("lycoris_", _UNET),
    ("lora_te1_", _FIRST),
    ("lora_te2_", _SECOND),
    ("lora_te_", _FIRST),
    ("text_encoder_2_", _SECOND),
    ("text_encoder_", _FIRST),
    ("unet_", _UNET),
    ("model_diffusion_model_", _UNET),
    ("diffusion_model_", _UNET),
)
_LDM_RESNET = {
    "norm1": "in_layers_0",
    "conv1": "in_layers_2",
    "time_emb_proj": "emb_layers_1",
    "norm2": "out_layers_0",
    "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
}
_LDM_ENDS = {
    "conv_in": "input_blocks_0_0",
    "time_embedding.linear_1": "time_embed_0",
    "time_embedding.linear_2": "time_embed_2",
    "add_embedding.linear_1": "label_emb_0_0",
    "add_embedding.linear_2": "label_emb_0_2",
    "conv_norm_out": "out_0",
    "conv_out": "out_2",
}
_LDM_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
# Attention of text encoders as diffusers' first LoRAs called it.
_OLD_TEXT = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


@dataclass(frozen=True, eq=False)
class Target:
    """One module that files can change. path: for messages."""

    module: nn.Module
    side: Side
    path: str


class Targets:
    """Every module with weights of a checkpoint's UNet and text encoders."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._found: dict[tuple[str, str], Target] = {}
        config = checkpoint.unet.config
        layers = config.layers_per_block
        layers = layers if isinstance(layers, int) else max(layers)
        attended = [kind.startswith("CrossAttn") for kind in config.up_block_types]
        for path, module in _with_weights(checkpoint.unet):
            target = Target(module, "unet", f"unet.{path}")
            for name in _unet_names(path, layers, attended):
                self._found[_UNET, name] = target
        for part, encoder in _encoders(checkpoint):
            for path, module in _with_weights(encoder):
                target = Target(module, "text", f"{part}.{path}")
                for name in _text_names(path):
                    self._found[part, name] = target

    def find(self, name: str) -> Target | None:
        """The module that a file means."""
        return self._found.get(_located(name))

    def side(self, name: str) -> Side:
        """What part a file's name is about, whether this checkpoint has that module or not."""
        return "unet" if _located(name)[0] == _UNET else "text"


def _located(name: str) -> tuple[str, str]:
    plain = name.replace(".", "_")
    part = _UNET
    for prefix, belongs in _PREFIXES:
        if plain.startswith(prefix):
            plain, part = plain[len(prefix) :], belongs
            if prefix != _PREFIXES[0][0]:
                break
    if part == _UNET:
        return part, plain.replace("_processor_to_", "_to_")
    return part, plain.removeprefix("text_model_")


def _with_weights(root: Any) -> Iterator[tuple[str, nn.Module]]:
    for path, module in root.named_modules():
        if getattr(module, "weight", None) is not None:
            yield path, module


def _encoders(checkpoint: Checkpoint) -> Iterator[tuple[str, Any]]:
    first, second = checkpoint.text_encoder, checkpoint.text_encoder_2
    # SDXL's refiner has only the second of SDXL's encoders.
    yield _SECOND if second is None and hasattr(first, "text_projection") else _FIRST, first
    if second is not None:
        yield _SECOND, second


def _text_names(path: str) -> Iterator[str]:
    # transformers 5.6 dropped `text_model.` from one of the two classes; files have it, or not.
    plain = path.removeprefix("text_model.").replace(".", "_")
    yield plain
    for ours, old in _OLD_TEXT.items():
        if plain.endswith(f"_{ours}"):
            yield plain.removesuffix(ours) + old


def _unet_names(path: str, layers: int, attended: list[bool]) -> Iterator[str]:
    plain = path.replace(".", "_")
    ldm = _ldm_name(path, layers, attended)
    for name in (plain, ldm):
        if name is not None:
            yield name
            if name.endswith("_to_out_0"):
                yield name.removesuffix("_0")


def _ldm_name(path: str, layers: int, attended: list[bool]) -> str | None:
    """LDM's name of a diffusers path, with underscores: the inverse of `ldm_unet.unet_name`."""
    if path in _LDM_ENDS:
        return _LDM_ENDS[path]
    if found := re.fullmatch(r"mid_block\.((?:resnets|attentions)\.\d+)\.?(.*)", path):
        return _ldm("middle_block", _LDM_MIDDLE.get(found[1]), found[2])
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.?(.*)", path)
    if found is None:
        return None
    down, block, kind, index = found[1] == "down", int(found[2]), found[3], int(found[4])
    if kind == "downsamplers":
        return f"input_blocks_{(layers + 1) * (block + 1)}_0_op"
    if kind == "upsamplers":
        return f"output_blocks_{(layers + 1) * block + layers}_{1 + attended[block]}_conv"
    number = (layers + 1) * block + index + down
    return _ldm(
        "input_blocks" if down else "output_blocks", f"{number}_{int(kind == 'attentions')}", found[5]
    )


def _ldm(side: str, place: str | None, inside: str) -> str | None:
    if place is None:
        return None
    return f"{side}_{place}_{_LDM_RESNET.get(inside, inside.replace('.', '_'))}"
