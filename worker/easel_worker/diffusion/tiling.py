"""Pictures that repeat without a seam: convolutions that go around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def tiling(*modules: nn.Module, enabled: bool = True) -> Iterator[None]:
    """While it lasts, every padded 2-d convolution of `modules` sees the opposite edge beyond an edge.

    The picture then continues into itself horizontally and vertically. Give it the UNet and the VAE (and
    control networks), around sampling and decoding. Only the convolutions' padding mode is changed, and put
    back however the block is left; weights are not touched. `enabled` False does nothing.

    A convolution that pads by more than its input's size cannot go around: torch raises for it. Stable
    Diffusion's pad by 1.
    """
    changed = [layer for layer in _padded(modules) if layer.padding_mode != "circular"] if enabled else []
    before = [layer.padding_mode for layer in changed]
    try:
        for layer in changed:
            layer.padding_mode = "circular"
        yield
    finally:
        for layer, mode in zip(changed, before, strict=True):
            layer.padding_mode = mode


def _padded(modules: tuple[nn.Module, ...]) -> list[nn.Conv2d]:
    """The convolutions that pad at all, each once; 1 x 1 ones do not, and stay on their faster path."""
    layers = {
        id(layer): layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d) and layer.padding not in ("valid", (0, 0))
    }
    return list(layers.values())
