"""Emphasis: what an attention weight does to an encoded prompt."""

from __future__ import annotations

from typing import Literal

import torch

Emphasis = Literal["Original", "No norm", "Ignore", "None"]
"""A1111's option `emphasis`.

"None": brackets are text. "Ignore": brackets are read, and weigh nothing. "No norm": each token's vector is
multiplied with its weight. "Original", the default: the same, and then the chunk is scaled so that the mean
of all its numbers is what it was.
"""

_ROUNDING = 1e-5  # of the numbers' root mean square; the mean of a real encoder's is 1e-2 to 1e-1 of it


def weigh(encoded: torch.Tensor, weights: torch.Tensor, mode: Emphasis) -> torch.Tensor:
    """Apply weights, (chunks, 77), to encoded chunks, (chunks, 77, width); each chunk by itself.

    Computed in float32 and returned in the dtype of `encoded`, which is returned as it is where nothing has a
    weight.
    """
    if mode in ("None", "Ignore") or bool((weights == 1).all()):
        return encoded
    before = encoded.float()
    after = before * weights.unsqueeze(-1)
    if mode == "Original":
        mean, moved = before.mean(dim=(1, 2), keepdim=True), after.mean(dim=(1, 2), keepdim=True)
        # A mean that is nothing but rounding (a final norm without bias has none) tells no scale.
        tells = (
            torch.minimum(mean.abs(), moved.abs())
            > _ROUNDING * before.square().mean(dim=(1, 2), keepdim=True).sqrt()
        )
        after = after * torch.where(tells, mean / moved, torch.ones_like(moved))
    return after.to(encoded.dtype)
