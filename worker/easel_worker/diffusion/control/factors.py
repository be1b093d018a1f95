"""control-LoRAs: a ControlNet whose copied half is the checkpoint's own weights plus products of two small
matrices (Stability AI, "Control-LoRA", 2023).

The checkpoint's weights are shared, never copied: what the products add is computed beside each layer, as
up(down(x)), which is (W + up @ down) x but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from easel_worker.diffusion.control.config import from_checkpoint
from easel_worker.diffusion.control.model import ControlModel, fill
from easel_worker.diffusion.control.network import Network, build_network, misfit_of
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


@dataclass(eq=False)
class ControlLora(ControlModel):
    """A control-LoRA; see `ControlModel`."""

    # An entry goes with its UNet, so that a checkpoint's weights are not kept alive from here.
    _built: MutableMapping[Any, Network] = field(default_factory=WeakKeyDictionary, init=False)

    def forget(self) -> None:
        self._built.clear()

    def misfit(self, unet: Any) -> str | None:
        return misfit_of(self, unet)

    def attach(self, unet: Any) -> Network:
        network = self._built.get(unet)
        if network is None:
            network = self._built[unet] = self._build(unet)
        # Bound each time: a LoRA may have put other tensors into the UNet since.
        fill(network.module, self._bound(network.module, unet), self.name)
        return network

    def _build(self, unet: Any) -> Network:
        config = from_checkpoint(self.config, unet.config)
        module = build_network(config, self.name)
        for name, layer in module.named_modules():
            up, down = self.weights.get(name + _UP), self.weights.get(name + _DOWN)
            if up is not None and down is not None:
                layer.register_forward_hook(_beside(layer, up, down))
        return Network(module, config)

    def _bound(self, module: nn.Module, unet: Any) -> dict[str, torch.Tensor]:
        base = unet.state_dict()
        bound = {}
        for name, like in module.state_dict().items():
            found = self.weights.get(name, base.get(name))
            if found is None:
                continue
            # A checkpoint for inpainting has further channels, which control networks do not see.
            bound[name] = found[:, : like.shape[1]] if name == "conv_in.weight" else found
        return bound


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
