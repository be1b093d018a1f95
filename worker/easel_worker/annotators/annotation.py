"""What a preprocessor is asked, and what it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from easel_contract.controlnet.poses import Pose

if TYPE_CHECKING:
    from torch import Tensor

Pixels: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) RGB, or what the place says, 0 to 255."""


@dataclass(frozen=True)
class Controls:
    """The settings of one run.

    Attributes:
        a, b: The module's first and second slider (`threshold_a`, `threshold_b`); 0 where it has none.
        seed: Of what a module draws at random; 0 to 2**32 - 1.
    """

    a: float = 0.0
    b: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Annotation:
    """What a preprocessor made of a picture.

    Attributes:
        map: (height, width, 3) RGB; of the inpaint modules (height, width, 4), whose last channel is the mask
            (255: to be painted anew).
        poses: What a pose detector found in the picture: one; None for every other module.
    """

    map: Pixels
    poses: tuple[Pose, ...] | None = None

    @property
    def shown(self) -> Pixels:
        """(height, width, 3 or 4): `map` as people are shown it: what is masked is half transparent."""
        if self.map.shape[2] == 3:
            return self.map
        return np.dstack([self.map[..., :3], 255 - self.map[..., 3] // 2])

    @property
    def hint(self) -> Tensor:
        """(1, 3, height, width) float in the size of `map`; see `easel_worker.annotators.geometry.to_hint`.

        A map that is to be fitted to the job is fitted first, and becomes a hint afterwards: a resized -1
        would bleed into what is kept.
        """
        from easel_worker.annotators.geometry import to_hint

        return to_hint(self.map)
