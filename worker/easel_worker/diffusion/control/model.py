"""A control network in memory, before it is attached to a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.control.kinds import ControlKind
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.placing import give

if TYPE_CHECKING:
    from easel_worker.diffusion.control.adapter import Adapter
    from easel_worker.diffusion.control.network import Network

ControlFamily = Literal["sd1", "sd2", "sdxl"]

FAMILY_NAMES: Mapping[ControlFamily, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "SDXL",
}

WHAT: Mapping[ControlKind, str] = {
    "controlnet": "ControlNet",
    "union": "union ControlNet",
    "lora": "control-LoRA",
    "t2i": "T2I-adapter",
}
"""The kinds, in errors."""


def family_of(config: Mapping[str, Any]) -> ControlFamily:
    """The family of a UNet or ControlNet with this configuration."""
    if config.get("addition_embed_type") == "text_time":
        return "sdxl"
    return "sd2" if config.get("use_linear_projection") else "sd1"


class Attached:
    """A network that is ready for one checkpoint's UNet. module: with all its layers, for `tiling`."""

    module: nn.Module

    @contextmanager
    def running(self) -> Iterator[None]:
        """To be held around each forward pass."""
        yield


@dataclass(eq=False)
class ControlModel(ABC):
    """A file's weights on one device, in one number format.

    name: the file's stem or the folder's name. weights: by diffusers' names. layers: how many weights
    `ControlArgs.advanced_weighting` has.
    """

    name: str
    kind: ControlKind
    family: ControlFamily
    config: Mapping[str, Any]
    weights: dict[str, torch.Tensor]
    layers: int

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(tensor.nbytes for tensor in self.weights.values())

    @property
    def accepts(self) -> tuple[int, ...]:
        """The lengths of `ControlArgs.advanced_weighting` that it takes."""
        return (self.layers,)

    def to(self, device: torch.device) -> ControlModel:
        """Move the weights, in place, between passes."""
        self.weights = {name: tensor.to(device) for name, tensor in self.weights.items()}
        self.rebind()
        return self

    @abstractmethod
    def rebind(self) -> None:
        """Give what was built the weights where they are now, or let go of it."""

    @abstractmethod
    def misfit(self, unet: Any) -> str | None:
        """What keeps the network from this UNet, in words that go on after the model's name; None where it
        fits."""

    @abstractmethod
    def attach(self, unet: Any) -> Network | Adapter:
        """The network as it works beside this UNet, which it fits. Cheap the second time."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether it can be used with this checkpoint."""
        return self.misfit(checkpoint.unet) is None


def compare(model: ControlModel, mine: Mapping[str, Any], unet: Any) -> str | None:
    """`ControlModel.misfit` of a network that has the entries `mine` of its configuration in common with a
    UNet's."""
    theirs = {key: _plain(unet.config.get(key)) for key in mine}
    wrong = [key for key, value in mine.items() if _plain(value) != theirs[key]]
    if not wrong:
        return None
    other, wanted = family_of(unet.config), FAMILY_NAMES[model.family]
    if other != model.family:
        return f"is a {WHAT[model.kind]} for {wanted}, the checkpoint is of {FAMILY_NAMES[other]}"
    differences = ", ".join(f"{key} {_plain(mine[key])} instead of {theirs[key]}" for key in wrong)
    return f"is a {WHAT[model.kind]} for another model of {wanted}: {differences}"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def fill(module: Any, weights: Mapping[str, torch.Tensor], name: str, *, whole: bool = True) -> Any:
    """`module`, built on the meta device, with these weights, which are shared, not copied. What is no part
    of it is left out. whole: none may be missing.

    Raises:
        CheckpointError: a weight is missing or has another shape; begins with `name`.
    """
    chosen: dict[str, torch.Tensor] = {}
    for key, like in module.state_dict().items():
        weight = weights.get(key)
        if weight is None and not whole:
            continue
        if weight is None:
            raise CheckpointError(f"{name} lacks the weight {key} (by diffusers' names)")
        if weight.shape != like.shape:
            raise CheckpointError(
                f"{name}: {key} has shape {tuple(weight.shape)}, its neighbours ask for {tuple(like.shape)}"
            )
        chosen[key] = weight
    give(module, chosen)
    return module.eval().requires_grad_(False)
