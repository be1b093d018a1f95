"""A unit of a job: what the request asks for, with its files found and its pictures opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from easel_contract.controlnet import ControlFile, ControlUnit, HrOption
from easel_worker.annotators import Pixels
from easel_worker.annotators.geometry import MASKED
from easel_worker.generation.control.kinds import Kind

if TYPE_CHECKING:
    from torch import Tensor

    from easel_worker.diffusion.attention.clip_vision import ClipView

Mask = NDArray[np.uint8]
"""(height, width): 255 is masked, 0 is not."""


@dataclass(frozen=True, eq=False)
class UnitImage:
    """A picture of a unit, and the mask on it, of the same size, or None."""

    pixels: Pixels
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class Hint:
    """A control map in the size of a pass.

    key: equal for hints that are the same. map: (height, width, 3) RGB, or with a fourth channel, 255 where
    it is masked.
    """

    key: tuple[object, ...]
    map: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.map.shape[1], self.map.shape[0]

    @property
    def masks(self) -> bool:
        """Whether anything is masked."""
        return self.map.shape[2] == 4 and bool((self.map[..., 3] > MASKED).any())

    @cached_property
    def shown(self) -> Image.Image:
        """The map as answers have it: what is masked is black."""
        if self.map.shape[2] == 3:
            return Image.fromarray(self.map)
        return Image.fromarray(np.where(self.map[..., 3:] > MASKED, np.uint8(0), self.map[..., :3]))


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit, ready for the torch thread.

    kind: what its module does in a pass. file: its model's; None where it needs none. images: its own
    pictures; without any, img2img's is meant. views: what CLIP, or a recogniser of faces, saw in its
    pictures, where the request has that in their stead. mask: its own mask for img2img's picture. region:
    where it acts; None is everywhere. known: hints that were made already.
    """

    asked: ControlUnit
    kind: Kind
    file: ControlFile | None = None
    images: tuple[UnitImage, ...] = ()
    views: tuple[ClipView | Tensor, ...] = ()
    mask: Mask | None = None
    region: Mask | None = None
    known: dict[tuple[object, ...], Hint] = field(default_factory=dict)

    def passes(self, count: int) -> slice:
        """Which of a job's `count` passes it takes part in: `hr_option` says, where there is a second one."""
        if count > 1 and self.asked.hr_option is HrOption.LOW:
            return slice(0, 1)
        return slice(1 if count > 1 and self.asked.hr_option is HrOption.HIGH else 0, count)

    @property
    def inpaints(self) -> bool:
        """Whether its module hides what is to be painted from the network."""
        return self.kind is Kind.INPAINT
