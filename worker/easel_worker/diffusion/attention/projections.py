"""How IP-Adapters turn what an encoder saw into tokens beside the prompt's.

Names of parameters are those in the published files, so that `image_proj.*` is their state. Widths and depths
come from the file's shapes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.stored import Shapes

BASE_TOKENS = 4
"""Of the kind "base": how many, its file does not tell."""
HEAD_SIZE = 64
"""Of the resampler's attention."""


class LinearProjection(nn.Module):
    """One vector -> 4 tokens (Ye et al. 2023, section 3.2.1)."""

    def __init__(self, width: int, context: int, tokens: int) -> None:
        super().__init__()
        self.width = width
        self.proj = nn.Linear(width, tokens * context)
        self.norm = nn.LayerNorm(context)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, tokens, context)."""
        made: torch.Tensor = self.norm(self.proj(seen).unflatten(-1, (-1, self.norm.normalized_shape[0])))
        return made


class FullProjection(nn.Module):
    """Every token by itself, through two layers ("full-face")."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.width = width
        self.proj = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, context), nn.LayerNorm(context)
        )

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(n, tokens, width) -> (n, tokens, context)."""
        made: torch.Tensor = self.proj(seen)
        return made


class FaceProjection(nn.Module):
    """A face's embedding -> tokens, through two layers ("faceid")."""

    def __init__(self, width: int, inner: int, context: int, tokens: int) -> None:
        super().__init__()
        self.width = width
        self.proj = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, tokens * context))
        self.norm = nn.LayerNorm(context)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, tokens, context)."""
        made: torch.Tensor = self.norm(self.proj(seen).unflatten(-1, (-1, self.norm.normalized_shape[0])))
        return made


class _Attention(nn.Module):
    """Learned queries look at tokens and at themselves (Alayrac et al. 2022, "Flamingo", appendix A.1.1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = heads * HEAD_SIZE
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        asking = self.norm2(queries)
        key, value = self.to_kv(torch.cat([self.norm1(tokens), asking], dim=1)).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (-1, HEAD_SIZE)).transpose(1, 2) for part in (self.to_q(asking), key, value)
        )
        heard = nn.functional.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = self.to_out(heard.transpose(1, 2).flatten(2))
        return out


class Resampler(nn.Module):
    """Any number of tokens -> a fixed one, drawn by learned queries ("plus")."""

    def __init__(
        self, width: int, inner: int, context: int, *, tokens: int, depth: int, heads: int, wide: int
    ) -> None:
        super().__init__()
        self.width = width
        self.latents = nn.Parameter(torch.empty(1, tokens, inner))
        self.proj_in = nn.Linear(width, inner)
        self.proj_out = nn.Linear(inner, context)
        self.norm_out = nn.LayerNorm(context)
        self.layers = nn.ModuleList(
            nn.ModuleList([_Attention(inner, heads), _feed_forward(inner, wide)]) for _ in range(depth)
        )

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(n, any, width) -> (n, tokens, context)."""
        tokens, queries = self.proj_in(seen), self.latents.expand(len(seen), -1, -1)
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            queries = queries + attention(tokens, queries)
            queries = queries + feed_forward(queries)
        made: torch.Tensor = self.norm_out(self.proj_out(queries))
        return made


Projection = LinearProjection | FullProjection | FaceProjection | Resampler
"""All have `width`: of what they take."""


def _feed_forward(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, inner, bias=False),
        nn.GELU(),
        nn.Linear(inner, width, bias=False),
    )


def build_linear(shapes: Shapes) -> LinearProjection:
    """On the meta device, for the weights `image_proj.*` of these shapes; so do the others.

    Raises:
        KeyError, ValueError: the shapes make none.
    """
    with torch.device("meta"):
        made, width = shapes["proj.weight"]
        return LinearProjection(width, made // BASE_TOKENS, BASE_TOKENS)


def build_full(shapes: Shapes) -> FullProjection:
    """See `build_linear`."""
    with torch.device("meta"):
        context, width = shapes["proj.2.weight"]
        return FullProjection(width, context)


def build_face(shapes: Shapes) -> FaceProjection:
    """See `build_linear`."""
    with torch.device("meta"):
        (inner, width), (made, _), (context,) = (
            shapes[name] for name in ("proj.0.weight", "proj.2.weight", "norm.weight")
        )
        return FaceProjection(width, inner, context, made // context)


def build_resampler(shapes: Shapes) -> Resampler:
    """See `build_linear`."""
    with torch.device("meta"):
        (_, tokens, inner), (_, width), (context, _) = (
            shapes[name] for name in ("latents", "proj_in.weight", "proj_out.weight")
        )
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("layers."))
        asked, wide = shapes["layers.0.0.to_q.weight"][0], shapes["layers.0.1.1.weight"][0]
        if asked % HEAD_SIZE:
            raise CheckpointError(f"its resampler has {asked} features per query: expected a multiple of 64")
        return Resampler(
            width, inner, context, tokens=tokens, depth=depth, heads=asked // HEAD_SIZE, wide=wide
        )
