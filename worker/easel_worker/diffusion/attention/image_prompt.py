"""An IP-Adapter at work: every cross-attention attends to the picture's tokens too, and adds what it hears
(Ye et al. 2023, equation 5: ``attention(Q, K, V) + weight * attention(Q, K', V')``).

The query is taken where the layer makes it, and the sum is made right before the layer's output projection,
by forward hooks. So whatever computes the text's attention stays as it is, with all that others did to its
matrices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import interpolate, scaled_dot_product_attention
from torch.utils.hooks import RemovableHandle

from easel_worker.diffusion.attention.ip_adapter import IPAdapter
from easel_worker.diffusion.attention.layers import Layout
from easel_worker.diffusion.attention.units import ImagePrompt, acts
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance_hooks import UNetInput
from easel_worker.diffusion.unet_batch import Call

SOFT = 0.825
"""What a layer counts by, to the power of its distance from the middle, in control modes other than balanced;
ControlNet's own number (A1111's extension)."""

_FAMILIES = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}


class ActingPrompt:
    """One unit on one UNet. `attach` before the pass, `prepare` before each forward pass, `detach` after.

    Raises:
        JobError: the adapter does not fit the UNet, or `layer_weights` are of another number.
    """

    def __init__(self, unit: ImagePrompt, layout: Layout, model: str) -> None:
        self._unit = unit
        self._layers: list[_Layer] = []
        self._handles: list[RemovableHandle] = []
        self._regions: dict[tuple[int, int, int], torch.Tensor] = {}
        self._size = (0, 0)
        self._laid_out: Call | None = None
        self._tokens_of: torch.Tensor | None = None
        self.tokens_of: torch.Tensor | None = None
        """For each row, the place of its tokens: a picture's, and last those of no picture; None while it
        does not act."""
        self.rows: torch.Tensor | None = None
        """(rows, 1, 1), what a row counts; None where all count 1."""
        _check(unit.adapter, layout, model, unit.field)
        factors = _factors(unit, layout)
        for (place, attention), matrices in zip(layout.as_filed, unit.adapter.layers, strict=True):
            if factors[place] != 0:
                self._layers.append(_Layer(self, attention, matrices, factors[place]))

    def attach(self) -> None:
        """Begin to act. With weight 0 there is nothing to begin."""
        tokens = torch.cat([self._unit.tokens.shown, self._unit.tokens.blank])
        for layer in self._layers:
            self._handles += layer.attach(tokens)

    def detach(self) -> None:
        """Leave the UNet as it was."""
        while self._handles:
            self._handles.pop().remove()
        self._layers.clear()
        self._regions.clear()

    def prepare(self, inputs: UNetInput) -> None:
        """Look at what the coming forward pass is."""
        if not self._layers or not acts(self._unit, inputs.progress):
            self.tokens_of = None
            return
        if self._laid_out is not inputs.rows:
            self._laid_out = inputs.rows
            blank = torch.tensor([kind != "positive" for kind in inputs.rows.kinds])
            shown, images = len(self._unit.tokens.shown), inputs.rows.images
            own = images if shown > 1 else torch.zeros_like(images)
            self._tokens_of = torch.where(blank.to(images.device), shown, own)
            alone = self._unit.mode == "control" and bool(blank.any())
            self.rows = (~blank)[:, None, None].to(inputs.sample) if alone else None
        self.tokens_of = self._tokens_of
        self._size = (int(inputs.sample.shape[-2]), int(inputs.sample.shape[-1]))

    def region(self, heard: torch.Tensor) -> torch.Tensor | None:
        """Where it acts on a layer's grid, (tokens, 1), for what was heard, (rows, tokens, width); None for
        everywhere."""
        region = self._unit.region
        if region is None:
            return None
        key = (*self._size, heard.shape[1])
        if key not in self._regions:
            seen = interpolate(region[None, None].float(), size=_grid(*key), mode="area")
            self._regions[key] = seen.reshape(-1, 1).to(heard)
        return self._regions[key]


class _Layer:
    """One cross-attention."""

    def __init__(
        self,
        acting: ActingPrompt,
        attention: Any,
        matrices: tuple[torch.Tensor, torch.Tensor],
        factor: float,
    ) -> None:
        self._acting = acting
        self._attention = attention
        self._matrices = matrices
        self._factor = factor
        self._query: torch.Tensor | None = None

    def attach(self, tokens: torch.Tensor) -> list[RemovableHandle]:
        """tokens: (pictures + 1, n, context), those of each picture and of none."""
        like = self._attention.to_q.weight
        # The same in every call of the pass.
        self._key, self._value = (
            self._heads(tokens.to(matrix) @ matrix.T).to(like) for matrix in self._matrices
        )
        return [
            self._attention.to_q.register_forward_hook(self._keep_query),
            self._attention.to_out[0].register_forward_pre_hook(self._add_picture),
        ]

    def _keep_query(self, module: Any, inputs: Any, output: torch.Tensor) -> None:
        if self._acting.tokens_of is not None:
            self._query = output

    def _add_picture(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        query, self._query = self._query, None
        tokens_of = self._acting.tokens_of
        if query is None or tokens_of is None:
            return None
        key, value = (made.index_select(0, tokens_of) for made in (self._key, self._value))
        heard = scaled_dot_product_attention(self._heads(query), key, value).transpose(1, 2).flatten(2)
        if (region := self._acting.region(heard)) is not None:
            heard = heard * region
        if (rows := self._acting.rows) is not None:
            heard = heard * rows
        text, *others = inputs
        return (torch.add(text, heard, alpha=self._factor), *others)

    def _heads(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, tokens, width) -> (n, heads, tokens, width of a head)."""
        return rows.reshape(*rows.shape[:2], self._attention.heads, -1).transpose(1, 2)


def _check(adapter: IPAdapter, layout: Layout, model: str, field: str) -> None:
    there = [attention for _, attention in layout.as_filed]
    fits = len(there) == len(adapter.layers) and all(
        key.shape == (attention.to_q.out_features, attention.to_k.in_features)
        for attention, (key, _) in zip(there, adapter.layers, strict=True)
    )
    if not fits:
        context = int(there[0].to_k.in_features) if there else 0
        raise JobError(
            f"{field}.model: the IP-Adapter {adapter.name} is for {_family(adapter.context)} and"
            f" {len(adapter.layers)} cross-attentions; {model} is {_family(context)} and has {len(there)}"
        )


def _family(context: int) -> str:
    return _FAMILIES.get(context, f"a model of {context} features of text")


def _factors(unit: ImagePrompt, layout: Layout) -> list[float]:
    """What each transformer counts, in running order."""
    count = len(layout.transformers)
    weights = unit.layer_weights or (1.0,) * count
    if len(weights) != count:
        raise JobError(
            f"{unit.field}.advanced_weighting: {len(weights)} weights are given; with this checkpoint an"
            f" IP-Adapter takes {count}"
        )
    soft = 1.0 if unit.mode == "balanced" else SOFT
    return [
        unit.weight * weight * soft ** (layout.outputs - 1 - transformer.number)
        for weight, transformer in zip(weights, layout.transformers, strict=True)
    ]


def _grid(height: int, width: int, tokens: int) -> tuple[int, int]:
    """The size of a layer's grid: the latent's, halved and rounded up as the UNet's convolutions do."""
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width
