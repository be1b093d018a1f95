"""Gives a module that was built on the meta device its weights from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.placing import give
from easel_worker.diffusion.single_file.stored import Shapes, Source, StoredWeights

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Target:
    """Where weights are put to, and in which number format."""

    device: torch.device
    dtype: torch.dtype


def fill(
    module: torch.nn.Module,
    sources: Mapping[str, Source],
    prefix: str,
    stored: StoredWeights,
    target: Target,
) -> None:
    """Give `module`, built on the meta device, its weights. What the file has beyond them is ignored: files
    hold averages, losses and positions that rendering has no use for.

    Raises:
        CheckpointError: a weight is missing or has another shape.
    """
    expected = module.state_dict()
    missing = sorted(expected.keys() - sources.keys())
    if missing:
        raise CheckpointError(
            f"weights are missing in {prefix or 'it'}*: {_shorten(missing)} (by diffusers' names)"
        )
    loaded: dict[str, torch.Tensor] = {}
    for name, like in expected.items():
        source = sources[name]
        full = Source(prefix + source.name, source.take)
        tensor = stored.read(full, dtype=target.dtype, device=target.device)
        if tensor.shape != like.shape:
            raise CheckpointError(
                f"{full.name} makes a weight of shape {tuple(tensor.shape)}, its neighbours ask for"
                f" {tuple(like.shape)}"
            )
        loaded[name] = tensor
    give(module, loaded)


def below(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """The shapes under a prefix, by the rest of their names."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
