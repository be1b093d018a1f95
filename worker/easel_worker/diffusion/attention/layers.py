"""Where a UNet attends, in the orders that adapters and weights count in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

Side = Literal["down", "middle", "up"]


@dataclass(frozen=True, eq=False)
class Transformer:
    """One of the UNet's transformers, with one or more layers of attention.

    number: of the encoder's block that it belongs to, or that the skip connection of its decoder's block
    comes from, counted as ControlNet's outputs are: 1 to 12 in SD 1.x, where 12 is the middle; 0 is the
    first convolution's.
    """

    module: Any
    side: Side
    number: int

    @property
    def self_attentions(self) -> list[Any]:
        return [layer.attn1 for layer in self.module.transformer_blocks]

    @property
    def cross_attentions(self) -> list[Any]:
        return [layer.attn2 for layer in self.module.transformer_blocks]


@dataclass(frozen=True, eq=False)
class Layout:
    """A UNet's transformers in the order they run, and how many numbers its blocks have (`outputs`: 13 in
    SD 1.x, 10 in SDXL). features: what each of its blocks hands on, as (module, side, level)."""

    transformers: tuple[Transformer, ...]
    outputs: int
    features: tuple[tuple[nn.Module, Side, int], ...]

    @property
    def as_filed(self) -> list[tuple[int, Any]]:
        """The cross-attentions in the order of IP-Adapters' files, which is the one that diffusers lists a
        UNet's parts in: down, up, middle. With each, the place of its transformer in running order."""
        filed: dict[Side, int] = {"down": 0, "up": 1, "middle": 2}
        ordered = sorted(enumerate(self.transformers), key=lambda entry: filed[entry[1].side])
        return [(place, layer) for place, entry in ordered for layer in entry.cross_attentions]


def find_layout(unet: Any) -> Layout:
    """The layout of diffusers' UNet2DConditionModel."""
    transformers: list[Transformer] = []
    features: list[tuple[nn.Module, Side, int]] = []
    number = 1
    for level, block in enumerate(unet.down_blocks):
        for module in _each(block):
            if _attends(module):
                transformers.append(Transformer(module, "down", number))
            features.append((module, "down", level))
            number += 1
        number += bool(block.downsamplers)
    middle = number
    if unet.mid_block is not None:
        attentions = filter(_attends, unet.mid_block.attentions)
        transformers += [Transformer(module, "middle", middle) for module in attentions]
        features.append((unet.mid_block, "middle", 0))
    for level, block in enumerate(unet.up_blocks):
        for module in _each(block):
            number -= 1
            if _attends(module):
                transformers.append(Transformer(module, "up", number))
            features.append((module, "up", level))
    return Layout(tuple(transformers), middle + 1, tuple(features))


def _each(block: Any) -> Iterable[nn.Module]:
    """The last module of each of a block's layers: its transformer, or its residual part if it has none."""
    attentions: Sequence[nn.Module] = getattr(block, "attentions", None) or ()
    return attentions or block.resnets


def _attends(module: nn.Module) -> bool:
    return hasattr(module, "transformer_blocks")
