"""From files and multipliers to new weights: W = W0 + the sum of multiplier * difference, in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from easel_worker.diffusion.lora.adapters import Replacement
from easel_worker.diffusion.lora.changes import Change
from easel_worker.diffusion.lora.kinds import within_float32


@dataclass(frozen=True, eq=False)
class Share:
    """One file's part in a module's new weights. rank: what its rank is cut to, None for all of it."""

    change: Change
    multiplier: float
    rank: int | None = None


class OverflowedError(ValueError):
    """The sum cannot be told in the weights' number format."""


def merge(wanted: Iterable[tuple[nn.Module, list[Share]]]) -> list[Replacement]:
    """New weights for modules: tensors of their own on the same device, in the same number format and memory
    layout. The modules are not touched.

    Raises:
        OverflowedError: a new weight is not finite.
    """
    made: list[Replacement] = []
    sums: list[torch.Tensor] = []
    for module, shares in wanted:
        for replacement in _replacements(module, shares):
            made.append(replacement)
            # What is not finite makes the sum so, and nothing tells it faster.
            sums.append(replacement.tensor.sum(dtype=torch.float32))
    # One look at the device for all of them.
    if sums and not bool(torch.isfinite(torch.stack(sums)).all()):
        raise OverflowedError("weights overflow")
    return made


def _replacements(module: nn.Module, shares: list[Share]) -> Iterator[Replacement]:
    weights = [(one, one.change.weight) for one in shares]
    if any(delta is not None for _, delta in weights):
        own = _parameter(module, "weight")
        base = own.to(torch.float32).contiguous().reshape(own.shape[0], -1)
        total = base.clone()
        for share, delta in weights:
            if delta is not None:
                delta.add_to(total, base, share.multiplier, share.rank)
        yield Replacement(module, "weight", _in_place_of(own, total.reshape(own.shape)))
    biases = [(one, one.change.bias) for one in shares]
    if any(bias is not None for _, bias in biases):
        own = _parameter(module, "bias")
        sum_ = own.to(torch.float32, copy=True)
        for share, bias in biases:
            if bias is not None:
                sum_.add_(bias.to(sum_).flatten(), alpha=within_float32(share.multiplier))
        yield Replacement(module, "bias", sum_.to(own.dtype))


def _in_place_of(own: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """`total` in the number format and memory layout of `own`."""
    if total.dtype == own.dtype and total.stride() == own.stride():
        return total
    return torch.empty_like(own).copy_(total)


def _parameter(module: nn.Module, name: str) -> torch.Tensor:
    parameter = module._parameters[name]
    if parameter is None:
        raise AssertionError(f"a change of a {name} that is not there")
    return parameter.detach()
