"""control-LoRAs: a ControlNet whose copied half is the checkpoint's own weights plus products of two small
matrices (Stability AI, "Control-LoRA", 2023).

The checkpoint's weights are lent for each forward pass, never copied: what the products add is computed
beside each layer, as up(down(x)), which is (W + up @ down) x but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from easel_worker.diffusion.control.config import from_checkpoint
from easel_worker.diffusion.control.model import ControlModel, fill
from easel_worker.diffusion.control.network import Network, build_network, misfit_of
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.stored import Shapes

_UP, _DOWN = ".up", ".down"


def whole_shapes(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that the factors in a file stand for, and of those that are whole."""
    whole = {name: shape for name, shape in shapes.items() if not name.endswith((_UP, _DOWN))}
    for name, down in shapes.items():
        up = shapes.get(name.removesuffix(_DOWN) + _UP)
        if name.endswith(_DOWN) and up is not None:
            whole[name.removesuffix(_DOWN) + ".weight"] = (up[0], *down[1:])
    return whole


@dataclass(frozen=True, eq=False)
class _Loan:
    """A parameter of ours that is the UNet's; both by the dictionary that holds it."""

    ours: dict[str, Any]
    theirs: dict[str, Any]
    name: str
    channels: int | None = None
    """Input channels to take; None for all."""

    def take(self) -> None:
        weight = self.theirs[self.name]
        if self.channels is not None:
            weight = nn.Parameter(weight[:, : self.channels], requires_grad=False)
        self.ours[self.name] = weight


class LoanNetwork(Network):
    """A network that has a UNet's weights only while it runs: moved, changed or thrown out, they are so here
    too."""

    def __init__(self, module: Any, config: Mapping[str, Any], loans: Sequence[_Loan]) -> None:
        super().__init__(module, config)
        self._loans = [(loan, loan.ours[loan.name]) for loan in loans]

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            for loan, _ in self._loans:
                loan.take()
            yield
        finally:
            for loan, without_memory in self._loans:
                loan.ours[loan.name] = without_memory


@dataclass(eq=False)
class ControlLora(ControlModel):
    """A control-LoRA; see `ControlModel`."""

    # An entry goes with its UNet.
    _built: MutableMapping[Any, LoanNetwork] = field(default_factory=WeakKeyDictionary, init=False)

    def rebind(self) -> None:
        self._built.clear()

    def misfit(self, unet: Any) -> str | None:
        return misfit_of(self, unet)

    def attach(self, unet: Any) -> LoanNetwork:
        network = self._built.get(unet)
        if network is None:
            network = self._built[unet] = self._build(unet)
        return network

    def _build(self, unet: Any) -> LoanNetwork:
        config = from_checkpoint(self.config, unet.config)
        module = build_network(config, self.name)
        loans = []
        for name, parameter in list(module.named_parameters()):
            if name not in self.weights:
                loans.append(self._loan(name, parameter, module, unet))
        own = {name: self.weights[name] for name, _ in module.named_parameters() if name in self.weights}
        fill(module, own, self.name, whole=False)
        for name, layer in module.named_modules():
            up, down = self.weights.get(name + _UP), self.weights.get(name + _DOWN)
            if up is None or down is None:
                continue
            shape = layer.weight.shape
            if up.numel() != shape[0] * len(down) or down.numel() != len(down) * shape[1:].numel():
                raise CheckpointError(
                    f"{self.name} is a control-LoRA whose factors {name}.up and .down do not make a weight of"
                    f" shape {tuple(shape)}"
                )
            layer.register_forward_hook(_beside(layer, up, down))
        return LoanNetwork(module, config, loans)

    def _loan(self, name: str, parameter: nn.Parameter, module: nn.Module, unet: Any) -> _Loan:
        place, _, end = name.rpartition(".")
        try:
            theirs = unet.get_submodule(place)._parameters
            shape = tuple(theirs[end].shape)
        except (AttributeError, KeyError):
            raise CheckpointError(f"{self.name} is a control-LoRA that lacks {name}") from None
        # A checkpoint for inpainting has further channels, which control networks do not see.
        channels = None
        if name == "conv_in.weight" and shape[1] > parameter.shape[1]:
            channels = parameter.shape[1]
            shape = (shape[0], channels, *shape[2:])
        if shape != tuple(parameter.shape):
            raise CheckpointError(
                f"{self.name} is a control-LoRA that asks for {name} of shape {tuple(parameter.shape)}, the"
                f" checkpoint's is {shape}"
            )
        return _Loan(module.get_submodule(place)._parameters, theirs, end, channels)


def _beside(
    layer: nn.Module, up: torch.Tensor, down: torch.Tensor
) -> Callable[[nn.Module, Any, torch.Tensor], torch.Tensor]:
    """A hook that adds what the factors make of a layer's input."""
    if isinstance(layer, nn.Conv2d):
        # Factors are stored as matrices, or with the convolution's sides.
        kernel = down.reshape(len(down), layer.in_channels, *layer.kernel_size)
        outward = up.reshape(layer.out_channels, -1, 1, 1)
        convolution = layer

        def add_map(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            # The layer's own way to convolve, so that `tiling` goes around here too.
            small = convolution._conv_forward(inputs[0], kernel, None)
            return output.add_(functional.conv2d(small, outward))

        return add_map
    inward, out = down.flatten(1), up.flatten(1)

    def add(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output.add_(functional.linear(functional.linear(inputs[0], inward), out))

    return add
