"""How strongly, where and when a unit's network acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from easel_worker.diffusion.errors import JobError

UNION_TYPES = (
    "OpenPose",
    "Depth",
    "Soft Edge",
    "Hard Edge",
    "Normal Map",
    "Segmentation",
    "Tile",
    "Inpaint",
)
"""The control types of a union model in the order of its task embeddings (xinsir/ControlNetPlus). The first
models know the first six."""

UNKNOWN = "Unknown"
BALANCED, PROMPT, CONTROL = 0, 1, 2
"""The control modes' numbers, as in requests."""

_SOFT = 0.825
_SOFT_ADAPTER = (0.25, 0.62, 0.825, 1.0)


@dataclass(frozen=True, eq=False)
class ControlArgs:
    """One unit, as a pass needs it; the defaults are A1111's.

    weight: what all residuals are multiplied with, 0 to 2; at 0 nothing runs. guidance_start, guidance_end:
    parts of the sampler's steps, 0 to 1, between which it acts, both inclusive. mode: 0 balanced; 1 "My
    prompt is more important": soft layer weights; 2 "ControlNet is more important": soft layer weights, and
    only rows with the positive prompt are controlled. advanced_weighting: one weight per layer
    (`ControlModel.layers`) in place of the mode's. region_mask: where it acts, 0 to 1, (1 or images, 1, any
    height, any width). soft_second_pass: the pass is a second one and the unit's lines are thin (canny,
    mlsd): soft layer weights in any mode. union_type: one of `UNION_TYPES` or "Unknown". pooled: each
    residual is averaged over its area (models trained so: shuffle's), and acts on positive rows only; a model
    that says so itself needs no word. tiling: convolutions go around, as the UNet's do. field: what errors
    call the unit.
    """

    weight: float = 1.0
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    mode: int = BALANCED
    advanced_weighting: Sequence[float] | None = None
    region_mask: torch.Tensor | None = None
    soft_second_pass: bool = False
    union_type: str = UNKNOWN
    pooled: bool = False
    tiling: bool = False
    field: str = "controlnet"

    def acts_at(self, progress: float) -> bool:
        """Whether it acts when that part of the steps is done."""
        return self.guidance_start <= progress <= self.guidance_end

    @property
    def positive_only(self) -> bool:
        return self.mode == CONTROL

    def layer_weights(self, layers: int, *, adapter: bool, accepts: Sequence[int]) -> tuple[float, ...]:
        """What each layer's residual is multiplied with: the weight times the mode's or the unit's own.

        Args:
            layers: Residuals of the model.
            adapter: It is a T2I-adapter.
            accepts: Lengths of `advanced_weighting` that it takes.

        Raises:
            JobError: `advanced_weighting` has another length.
        """
        own = self.advanced_weighting
        if own is not None:
            if len(own) not in accepts:
                raise JobError(
                    f"{self.field}.advanced_weighting: {len(own)} weights, this model takes"
                    f" {' or '.join(map(str, sorted(accepts)))}"
                )
            shape = tuple(own[:layers])
        elif self.mode == BALANCED and not self.soft_second_pass:
            shape = (1.0,) * layers
        else:
            shape = _SOFT_ADAPTER if adapter else soft_weights(layers)
        return tuple(self.weight * one for one in shape)


def soft_weights(layers: int) -> tuple[float, ...]:
    """Layer i of n counts 0.825^(n - 1 - i) times: 13 layers in Stable Diffusion 1.x, 10 in SDXL."""
    return tuple(_SOFT ** (layers - 1 - layer) for layer in range(layers))
