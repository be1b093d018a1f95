"""References at work: the generated picture looks at another one while it forms.

Nobody wrote a paper on it. The idea (Lvmin Zhang, "reference-only preprocessor", 2023, and Apache-licensed in
diffusers' community pipelines): right before each forward pass the reference's latent, noised to the same
level, goes through the same UNet with the same texts.

- reference_only: what its self-attentions saw then, they see again in the pass proper beside what they see
  there, so that the picture can copy from the reference.
- reference_adain: each block's output is given the mean and deviation, channel by channel, that it had for
  the reference (Huang & Belongie 2017, "Arbitrary Style Transfer in Real-time with Adaptive Instance
  Normalization").
- reference_adain+attn: both.

Style fidelity is how far the negative rows go without it: at 0 both halves of the guidance look at the
reference and what they have in common cancels, at 1 the positive half alone does, and guidance pushes the
picture towards the reference. The unit's weight says which blocks take part: of the self-attentions that
share of all, the widest first, which are those around the middle; of the outputs those up to half that share
of the way from the middle to the UNet's ends.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.utils.hooks import RemovableHandle

from easel_worker.diffusion.attention.layers import Layout, Side
from easel_worker.diffusion.attention.units import Reference, acts
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.guidance_hooks import Forward, UNetInput

_EPSILON = 1e-6


class ActingReference:
    """One unit on one UNet. `attach` before the pass and `detach` after it; before each forward pass `write`,
    then `read` or `rest`."""

    def __init__(self, unit: Reference, layout: Layout, checkpoint: Checkpoint) -> None:
        self.unit = unit
        self.doing: Literal["nothing", "writing", "reading"] = "nothing"
        self.fidelity = {"prompt": 0.0, "control": 1.0}.get(unit.mode, unit.style_fidelity)
        self.negative: torch.Tensor | None = None
        """Places of the rows that go without it as far as fidelity says; None for no such rows."""
        self._checkpoint = checkpoint
        self._layers = _attentions(self, layout) if unit.kind != "reference_adain" else []
        self._layers += _features(self, layout) if unit.kind != "reference_only" else []
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Begin to act. With weight 0 there is nothing to begin."""
        for layer in self._layers:
            self._handles += layer.attach()

    def detach(self) -> None:
        """Leave the UNet as it was."""
        while self._handles:
            self._handles.pop().remove()
        self._layers.clear()
        self.doing = "nothing"

    def acts(self, progress: float) -> bool:
        """Whether it acts when this part of the sampler's steps is done."""
        return bool(self._layers) and acts(self.unit, progress)

    def write(self, inputs: UNetInput, forward: Forward) -> None:
        """Send the reference through the UNet."""
        places = [place for place, kind in enumerate(inputs.rows.kinds) if kind != "positive"]
        device = inputs.sample.device
        self.negative = torch.tensor(places, device=device) if places and self.fidelity else None
        self.doing = "writing"
        try:
            forward(self._noised(inputs), self._concat(inputs))
        finally:
            self.doing = "nothing"

    def read(self) -> None:
        """Let the coming forward pass see what was written."""
        self.doing = "reading"

    def rest(self) -> None:
        """Let the coming forward pass be."""
        self.doing = "nothing"

    def _noised(self, inputs: UNetInput) -> torch.Tensor:
        """The reference at the pass's noise level, a row for each, scaled as the UNet was trained."""
        sigma = inputs.sigma
        noisy = (self.unit.latent + sigma * self.unit.noise) * (sigma**2 + 1.0) ** -0.5
        return _rows(noisy, inputs).to(inputs.sample)

    def _concat(self, inputs: UNetInput) -> torch.Tensor | None:
        """Further input channels: an inpainting model is shown all of the reference and nothing to paint, one
        that follows instructions the reference as its picture."""
        if inputs.rows.concat is None:
            return None
        latent = _rows(self.unit.latent, inputs).to(inputs.sample)
        if self._checkpoint.takes == "mask":
            return torch.cat([torch.zeros_like(latent[:, :1]), latent], dim=1)
        shown = torch.tensor([kind != "blank" for kind in inputs.rows.kinds]).to(latent)
        return latent * (shown / self._checkpoint.scaling_factor)[:, None, None, None]


def _rows(latents: torch.Tensor, inputs: UNetInput) -> torch.Tensor:
    """(1 or images, …) -> a row of the forward pass each."""
    images = inputs.rows.images
    return latents.expand(len(images), -1, -1, -1) if len(latents) == 1 else latents.index_select(0, images)


class _Attention:
    """One self-attention: it keeps its input while writing, and has it beside its own while reading."""

    def __init__(self, acting: ActingReference, attention: Any) -> None:
        self._acting = acting
        self._attention = attention
        self._kept: torch.Tensor | None = None

    def attach(self) -> list[RemovableHandle]:
        return [
            self._attention.register_forward_pre_hook(self._before, with_kwargs=True),
            self._attention.register_forward_hook(self._after, with_kwargs=True),
        ]

    def _before(self, module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self._acting.doing == "writing":
            self._kept = inputs[0]
        elif self._acting.doing == "reading" and self._kept is not None:
            seen = named.get("encoder_hidden_states")  # set where another reference came before
            own = inputs[0] if seen is None else seen
            return inputs, {**named, "encoder_hidden_states": torch.cat([own, self._kept], dim=1)}
        return None

    def _after(
        self, module: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: torch.Tensor
    ) -> torch.Tensor | None:
        rows = self._acting.negative
        if self._acting.doing != "reading" or rows is None:
            return None
        alone = module.processor(module, inputs[0].index_select(0, rows))
        return output.index_copy(
            0, rows, torch.lerp(output.index_select(0, rows), alone, self._acting.fidelity)
        )


class _Feature:
    """One block's output: its mean and deviation are kept while writing, and given to it while reading."""

    def __init__(self, acting: ActingReference, module: Any) -> None:
        self._acting = acting
        self._module = module
        self._kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def attach(self) -> list[RemovableHandle]:
        return [self._module.register_forward_hook(self._after)]

    def _after(self, module: Any, inputs: Any, output: Any) -> Any:
        feature: torch.Tensor = output[0] if isinstance(output, tuple) else output
        if self._acting.doing == "writing":
            self._kept = _statistics(feature)
        elif self._acting.doing == "reading" and self._kept is not None:
            changed = self._renormalise(feature, *self._kept)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed
        return None

    def _renormalise(
        self, feature: torch.Tensor, deviation: torch.Tensor, mean: torch.Tensor
    ) -> torch.Tensor:
        own_deviation, own_mean = _statistics(feature)
        changed = ((feature - own_mean) / own_deviation * deviation + mean).to(feature.dtype)
        rows = self._acting.negative
        if rows is None:
            return changed
        alone = feature.index_select(0, rows)
        return changed.index_copy(
            0, rows, torch.lerp(changed.index_select(0, rows), alone, self._acting.fidelity)
        )


def _statistics(feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Deviation and mean over the picture, (rows, channels, 1, 1), float32."""
    variance, mean = torch.var_mean(feature.float(), dim=(2, 3), keepdim=True, correction=0)
    return (variance + _EPSILON).sqrt(), mean


def _attentions(acting: ActingReference, layout: Layout) -> list[Any]:
    found = [attention for entry in layout.transformers for attention in entry.self_attentions]
    found.sort(key=lambda attention: -int(attention.to_q.in_features))
    return [
        _Attention(acting, attention)
        for place, attention in enumerate(found)
        if place < acting.unit.weight * len(found)
    ]


def _features(acting: ActingReference, layout: Layout) -> list[Any]:
    if acting.unit.weight == 0:
        return []
    levels = 1 + max(level for _, side, level in layout.features if side == "down")
    return [
        _Feature(acting, module)
        for module, side, level in layout.features
        if 2 * _way(side, level, levels) <= acting.unit.weight * levels
    ]


def _way(side: Side, level: int, levels: int) -> int:
    """Levels from the middle to a block's output."""
    return {"down": levels - level, "middle": 0, "up": level}[side]
