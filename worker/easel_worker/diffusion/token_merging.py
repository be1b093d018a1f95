"""Token merging: places of a picture that look alike share one query, key and value in self-attention.

Bolya & Hoffman 2023, "Token Merging for Fast Stable Diffusion", as their `tomesd` does it and A1111 uses it:
the upper left token of each 2 x 2 stays. Of the others, those that are most like one of these, up to a share
of all tokens, are averaged into it before the attention, and get its result afterwards. Their random choice
among the four is left out, as A1111 leaves it: pictures would depend on more than their seed.

Only attention at the latent's full size takes part, where it costs most. SD 1.x and 2.x attend there, SDXL
does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Matching:
    """Which tokens go where, for each row of a forward pass.

    stay, may: the places of the tokens that stay, and of those that may be merged. kept, merged: which of the
    latter are, (rows, n, 1). into: for each of `merged`, the place of its partner among those that stay.
    """

    stay: torch.Tensor
    may: torch.Tensor
    kept: torch.Tensor
    merged: torch.Tensor
    into: torch.Tensor

    def merge(self, tokens: torch.Tensor) -> torch.Tensor:
        """(rows, n, width) -> fewer of them: first what was kept, then the means of those that stay."""
        channels = (-1, -1, tokens.shape[-1])
        staying, others = tokens[:, self.stay], tokens[:, self.may]
        kept = others.gather(1, self.kept.expand(channels))
        merged = others.gather(1, self.merged.expand(channels))
        means = staying.scatter_reduce(1, self.into.expand(channels), merged, reduce="mean")
        return torch.cat([kept, means], dim=1)

    def unmerge(self, tokens: torch.Tensor) -> torch.Tensor:
        """What `merge` made back at its places; a merged token has what its partner has."""
        channels = (-1, -1, tokens.shape[-1])
        count = self.kept.shape[1]
        kept, staying = tokens[:, :count], tokens[:, count:]
        others = tokens.new_empty((len(tokens), len(self.may), tokens.shape[-1]))
        others.scatter_(1, self.kept.expand(channels), kept)
        others.scatter_(1, self.merged.expand(channels), staying.gather(1, self.into.expand(channels)))
        whole = tokens.new_empty((len(tokens), len(self.stay) + len(self.may), tokens.shape[-1]))
        whole[:, self.stay] = staying
        whole[:, self.may] = others
        return whole


def match(tokens: torch.Tensor, size: tuple[int, int], ratio: float) -> Matching:
    """Find partners by the cosine of the angle between tokens.

    Args:
        tokens: (rows, height * width, channels).
        size: Height and width, both at least 2.
        ratio: The part of all tokens that is merged, 0 to 1; at most the three of four that may be.
    """
    stay, may = _places(size, tokens.device)
    direction = tokens / tokens.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    alike, partner = (direction[:, may] @ direction[:, stay].transpose(1, 2)).max(dim=-1)
    order = alike.argsort(dim=-1, descending=True, stable=True)[..., None]
    count = min(int(tokens.shape[1] * ratio), len(may))
    merged, kept = order[:, :count], order[:, count:]
    return Matching(stay, may, kept, merged, partner[..., None].gather(1, merged))


@contextmanager
def token_merging(unet: Any, ratio: float) -> Iterator[None]:
    """While it lasts, diffusers' `unet` merges tokens; put it inside of whatever else acts on its attention.

    ratio: see `match`. 0 does nothing, and so does any on a UNet that does not `merges`. Everything is done
    with hooks, gone afterwards however the block is left; weights are not touched.
    """
    layers = _layers(unet) if ratio > 0 else []
    if not layers:
        yield
        return
    latent = _Latent()
    with ExitStack() as stack:
        stack.callback(unet.register_forward_pre_hook(latent.begins).remove)
        for layer in layers:
            merging = _Merging(latent, ratio)
            stack.callback(layer.register_forward_pre_hook(merging.look).remove)
            # First of all before the attention and last after it: other hooks see merged tokens only.
            before = layer.attn1.register_forward_pre_hook(merging.before, prepend=True)
            stack.callback(before.remove)
            stack.callback(layer.attn1.register_forward_hook(merging.after).remove)
        yield


def merges(unet: Any) -> bool:
    """Whether a UNet has attention at the latent's full size, where tokens are merged."""
    return bool(_layers(unet))


def _layers(unet: Any) -> list[Any]:
    ends = (unet.down_blocks[0], unet.up_blocks[-1])
    transformers = [one for end in ends for one in getattr(end, "attentions", None) or ()]
    return [layer for one in transformers for layer in one.transformer_blocks]


class _Latent:
    """The size of the latent that is in the UNet: a reference's may be another than the picture's."""

    size = (0, 0)

    def begins(self, unet: Any, inputs: tuple[Any, ...]) -> None:
        height, width = inputs[0].shape[-2:]
        self.size = (height, width)


class _Merging:
    """One layer's: partners are found in what comes in, before its norm."""

    def __init__(self, latent: _Latent, ratio: float) -> None:
        self._latent = latent
        self._ratio = ratio
        self._matching: Matching | None = None

    def look(self, layer: Any, inputs: tuple[Any, ...]) -> None:
        self._matching = (
            match(inputs[0], self._latent.size, self._ratio) if min(self._latent.size) > 1 else None
        )

    def before(self, attention: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return None if self._matching is None else (self._matching.merge(inputs[0]), *inputs[1:])

    def after(self, attention: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        return None if self._matching is None else self._matching.unmerge(output)


@lru_cache(maxsize=8)
def _places(size: tuple[int, int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The upper left of each whole 2 x 2, and all others, as places in rows of `size`."""
    height, width = size
    stays = torch.zeros(size, dtype=torch.bool)
    stays[: height // 2 * 2 : 2, : width // 2 * 2 : 2] = True
    flat = stays.flatten()
    return flat.nonzero()[:, 0].to(device), (~flat).nonzero()[:, 0].to(device)
