"""Weights that are trained as a small difference: W + scale * up @ down (Hu et al. 2021, "LoRA").

A convolution counts as a matrix of its output channels by everything else, as in the files of LoRAs and
control-LoRAs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils import parametrize


class LowRank(torch.nn.Module):
    """A parametrization: the weight it is given, which stays as it is, and a difference of rank `rank`."""

    def __init__(self, weight: torch.Tensor, rank: int) -> None:
        super().__init__()
        self.down = torch.nn.Parameter(torch.empty(rank, *weight.shape[1:]))
        self.up = torch.nn.Parameter(torch.zeros(weight.shape[0], rank))
        # So that what enters keeps its variance: `up` is zero, and nothing else sets the first steps' size.
        torch.nn.init.normal_(self.down, std=weight[0].numel() ** -0.5)
        self.scale = 1.0

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The sum, in `weight`'s shape and number format."""
        with torch.autocast(weight.device.type, enabled=False):
            return torch.addmm(weight.flatten(1), self.up, self.down.flatten(1), alpha=self.scale).view_as(
                weight
            )


def attach(network: torch.nn.Module, wanted: Callable[[str], bool], rank: int) -> dict[str, LowRank]:
    """Train the wanted linear and convolution weights of `network` as differences, and nothing else of it.

    `wanted` is asked with a module's name. Returns the differences by their modules' names. A weight that is
    no larger than its factors would be is left alone.
    """
    network.requires_grad_(False)
    added: dict[str, LowRank] = {}
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d) or not wanted(name):
            continue
        assert isinstance(weight, torch.nn.Parameter)  # noqa: S101 - both kinds of module have one
        if rank * (weight.shape[0] + weight[0].numel()) < weight.numel():
            added[name] = LowRank(weight, rank)
    for name, difference in added.items():
        parametrize.register_parametrization(network.get_submodule(name), "weight", difference)
    return added


def switch(differences: dict[str, LowRank], scale: float) -> None:
    """Apply all differences so strongly; 0 is the network as it was."""
    for difference in differences.values():
        difference.scale = scale


def merged(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state of `network` with the differences added into its weights, under the usual names."""
    state: dict[str, Any] = {
        name: tensor for name, tensor in network.state_dict().items() if ".parametrizations." not in name
    }
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    return state
