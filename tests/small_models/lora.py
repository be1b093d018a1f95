"""LoRA files of every kind and in every naming, for whatever checkpoint they are made for.

Deterministic: the same arguments write the same tensors. Names are made here from what the formats say, not
by the code that reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from easel_shapes.single_file import unet_name
from easel_worker.diffusion.checkpoint import Checkpoint

Style = Literal["kohya", "ldm", "diffusers", "peft", "old", "dotted-ldm"]
Tensors = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]

ATTENTION = r"attn[12]\.to_(q|k|v|out\.0)$|self_attn\.\w+_proj$"
LINEAR = rf"{ATTENTION}|proj_(in|out)$|ff\.net\.\d(\.proj)?$|mlp\.fc\d$"
CONVOLUTIONS = r"resnets\.\d\.conv\d$|conv_shortcut$|samplers\.0\.conv$"
NORMS = r"norm\d?$|layer_norm\d$"
EVERYTHING = rf"{LINEAR}|{CONVOLUTIONS}|time_emb_proj$|^conv_(in|out)$"

KINDS = (
    "lora",
    "tucker",
    "loha",
    "loha-tucker",
    "lokr",
    "lokr-full",
    "lokr-tucker",
    "full",
    "dora",
    "dora-out",
)
MORE_KINDS = ("ia3", "glora", "oft", "norm")


def modules_of(checkpoint: Checkpoint, style: Style, wanted: str = LINEAR, parts: str = "unet te") -> Shapes:
    """What files of a style call a checkpoint's modules whose paths end like `wanted`, with their shapes."""
    found: Shapes = {}
    if "unet" in parts:
        for path, shape in _weights(checkpoint.unet, wanted):
            found[_unet(path, style, checkpoint.unet.config)] = shape
    if "te" in parts:
        both = checkpoint.text_encoder_2 is not None
        for number, encoder in enumerate((checkpoint.text_encoder, checkpoint.text_encoder_2), 1):
            if encoder is not None:
                for path, shape in _weights(encoder, wanted):
                    found[_text(path.removeprefix("text_model."), style, number if both else 0)] = shape
    return found


def lora_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    kind: str = "lora",
    *,
    style: Style = "kohya",
    rank: int = 4,
    alpha: float | None = 2.0,
    strength: float = 0.3,
    seed: int = 0,
) -> Tensors:
    """The tensors of a file for these modules. strength: how large a difference is beside a usual weight."""
    generator = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, shape in shapes.items():
        made = _Maker(shape, rank, strength, generator).make(kind)
        if alpha is not None and kind not in ("full", "norm", "ia3", "oft"):
            made["alpha"] = torch.tensor(float(alpha))
        tensors |= {f"{name}{_ending(part, style)}": tensor for part, tensor in made.items()}
    return tensors


def write_lora(
    path: Path,
    checkpoint: Checkpoint,
    kind: str = "lora",
    *,
    style: Style = "kohya",
    wanted: str = LINEAR,
    parts: str = "unet te",
    metadata: Mapping[str, str] | None = None,
    **more: Any,
) -> Path:
    """A file for a checkpoint; folders are made. `more`: see `lora_tensors`."""
    tensors = lora_tensors(modules_of(checkpoint, style, wanted, parts), kind, style=style, **more)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"format": "pt", **(metadata or {})})
    return path


def _weights(root: Any, wanted: str) -> Iterable[tuple[str, tuple[int, ...]]]:
    for path, module in root.named_modules():
        if getattr(module, "weight", None) is not None and re.search(wanted, path):
            yield path, tuple(module.weight.shape)


def _unet(path: str, style: Style, config: Any) -> str:
    if style in ("ldm", "dotted-ldm"):
        name = unet_name(f"{path}.weight", config).removesuffix(".weight")
        return f"diffusion_model.{name}" if style == "dotted-ldm" else "lora_unet_" + name.replace(".", "_")
    if style == "kohya":
        return "lora_unet_" + path.replace(".", "_")
    if style == "old":
        return re.sub(r"\.(attn\d)\.(to_\w+?)(\.0)?$", r".\1.processor.\2", path)
    return f"unet.{path}"


def _text(path: str, style: Style, number: int) -> str:
    if style in ("kohya", "ldm"):
        return f"lora_te{number or ''}_text_model_" + path.replace(".", "_")
    return f"text_encoder{'_2' if number == 2 else ''}.text_model.{path}"


def _ending(part: str, style: Style) -> str:
    if style == "peft" and part in ("down", "up"):
        return {"down": ".lora_A.weight", "up": ".lora_B.weight"}[part]
    if style == "diffusers" and part in ("down", "up"):
        return f".lora.{part}.weight"
    if style == "old" and part in ("down", "up"):
        return f"_lora.{part}.weight"
    if part in ("down", "up", "mid"):
        return f".lora_{part}.weight"
    return f".{part}.weight" if part in ("a1", "a2", "b1", "b2") else f".{part}"


class _Maker:
    """Random tensors of one module."""

    def __init__(
        self, shape: tuple[int, ...], rank: int, strength: float, generator: torch.Generator
    ) -> None:
        self.shape = shape
        self.rank = rank
        self.generator = generator
        self.size = strength / (shape[1] if len(shape) > 1 else 1) ** 0.5

    def random(self, *shape: int, size: float = 1.0) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator) * size

    def make(self, kind: str) -> Tensors:
        outputs = self.shape[0]
        inputs, kernel = (self.shape[1], self.shape[2:]) if len(self.shape) > 1 else (0, ())
        rank, core = self.rank, kernel or ()
        ones = (1,) * len(kernel)
        match kind:
            case "lora":
                return {
                    "down": self.random(rank, inputs, *kernel, size=self.size),
                    "up": self.random(outputs, rank, *ones),
                }
            case "tucker":
                return {
                    "down": self.random(rank, inputs, *ones, size=self.size),
                    "mid": self.random(rank, rank, *(core or (1, 1))),
                    "up": self.random(outputs, rank, *ones),
                }
            case "dora-peft":
                return {
                    **self.make("lora"),
                    "lora_magnitude_vector": self.random(outputs, size=0.05).abs() + 0.3,
                }
            case "dora" | "dora-out":
                wide = (outputs, 1) if kind == "dora-out" else (1, inputs)
                magnitude = self.random(*wide, *ones, size=0.05).abs() + 0.3
                return {**self.make("lora"), "dora_scale": magnitude}
            case "loha":
                width = inputs * _product(kernel)
                return {
                    "hada_w1_a": self.random(outputs, rank),
                    "hada_w1_b": self.random(rank, width, size=self.size),
                    "hada_w2_a": self.random(outputs, rank),
                    "hada_w2_b": self.random(rank, width),
                }
            case "loha-tucker":
                return {
                    **{f"hada_t{i}": self.random(rank, rank, *(core or (1, 1)), size=0.5) for i in (1, 2)},
                    "hada_w1_a": self.random(rank, outputs),
                    "hada_w1_b": self.random(rank, inputs, size=self.size),
                    "hada_w2_a": self.random(rank, outputs),
                    "hada_w2_b": self.random(rank, inputs),
                }
            case "lokr" | "lokr-full" | "lokr-tucker":
                return self._lokr(kind, outputs, inputs, kernel)
            case "full":
                bias = {"diff_b": self.random(outputs, size=0.1)} if kernel else {}
                return {"diff": self.random(*self.shape, size=self.size), **bias}
            case "norm":
                return {
                    "w_norm": self.random(outputs, size=0.2),
                    "b_norm": self.random(outputs, size=0.2),
                }
            case "ia3":
                on_input = outputs < inputs
                factors = self.random(inputs if on_input else outputs, size=0.3)
                return {
                    "weight": factors if on_input else factors[:, None],
                    "on_input": torch.tensor(on_input),
                }
            case "glora":
                return {
                    "a1": self.random(rank, inputs, size=0.3),
                    "a2": self.random(inputs, rank, size=0.3 / inputs**0.5),
                    "b1": self.random(rank, inputs, size=self.size),
                    "b2": self.random(outputs, rank),
                }
            case "oft":
                blocks = 4 if outputs % 4 == 0 else 1
                width = outputs // blocks
                return {
                    "oft_blocks": self.random(blocks, width, width, size=0.1 / width**0.5),
                    "alpha": torch.tensor(0.0),
                }
        raise ValueError(kind)

    def _lokr(self, kind: str, outputs: int, inputs: int, kernel: tuple[int, ...]) -> Tensors:
        rank, few = self.rank, 2 if outputs % 2 == inputs % 2 == 0 else 1
        rows, columns = outputs // few, inputs // few
        if kind == "lokr-full":
            return {
                "lokr_w1": self.random(few, few),
                "lokr_w2": self.random(rows, columns, *kernel, size=self.size),
            }
        if kind == "lokr-tucker":
            return {
                "lokr_w1": self.random(few, few),
                "lokr_t2": self.random(rank, rank, *(kernel or (1, 1)), size=0.5),
                "lokr_w2_a": self.random(rank, rows),
                "lokr_w2_b": self.random(rank, columns, size=self.size),
            }
        return {
            "lokr_w1_a": self.random(few, rank),
            "lokr_w1_b": self.random(rank, few),
            "lokr_w2_a": self.random(rows, rank),
            "lokr_w2_b": self.random(rank, columns * _product(kernel), size=self.size),
        }


def _product(sides: tuple[int, ...]) -> int:
    total = 1
    for side in sides:
        total *= side
    return total
