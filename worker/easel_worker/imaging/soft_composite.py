"""The last step of soft inpainting: how much of the result shows, decided by how much it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from easel_worker.imaging.gaussian import blur_columns, blur_rows
from easel_worker.imaging.levels import Floats, to_picture
from easel_worker.imaging.resize import Size

# Sigma of the smoothing of the change, in latent pixels: one latent pixel alone is no change worth showing,
# and the composite's edges should be as soft as one of them is wide in the picture.
_SMOOTHING = 1.0

# Keep odds finite where they are certain: of a mask that leaves no choice, and of no change at all.
_TINY = 1e-5
_NO_CHANGE = 1e-12
# Logarithms of odds beyond this are certain too, and float32 can still hold their exponential.
_CERTAIN = 80.0


@dataclass(frozen=True)
class SoftComposite:
    """The script's last arguments.

    mask_influence: 0 to 1, how much the mask has a say beside the change (default 0, none). threshold: the
    change, in latent units, at which half of the result shows (default 0.5). contrast: how sharply the one
    turns into the other around it (default 2). scale: the script's ``mask blend scale``, which also shapes
    the mask here (default 0.5).
    """

    mask_influence: float = 0.0
    threshold: float = 0.5
    contrast: float = 2.0
    scale: float = 0.5

    def opacity(self, original: Floats, result: Floats, mask: Floats) -> Floats:
        """How much of the result shows, (h, w), 0 to 1.

        `original` and `result` are latents (4, h, w) before and after sampling, `mask` (h, w) is the soft
        latent mask, 1 is repainted. With

            change = |result - original|, the length over the channels, smoothed by a Gaussian of sigma 1
            keep   = (1 - influence) / 2 + influence * (1 - mask ** (scale / 2))
            half   = threshold * keep / (1 - keep)

        the opacity is smootherstep(x / (1 + x)), x = (change / half) ** contrast: 0 for no change, 1/2 at
        `half`, near 1 far above it. With influence 1 a pixel that the mask keeps is never replaced, and one
        that it fully repaints always is. smootherstep: Perlin 2002, "Improving noise".
        """
        distance = cast("Floats", np.linalg.norm(result - original, axis=0))
        change = blur_rows(blur_columns(distance, _SMOOTHING), _SMOOTHING)
        repaint = np.where(mask > 0, mask.clip(0.0, 1.0) ** (self.scale / 2), 0.0)  # also for 0 ** 0
        keep = 0.5 * (1.0 - self.mask_influence) + self.mask_influence * (1.0 - repaint)
        half = self.threshold * keep / (1.0 - keep + _TINY)
        ratio = np.log(np.maximum(change, _NO_CHANGE)) - np.log(np.maximum(half, _TINY))
        share = 1.0 / (1.0 + np.exp((-self.contrast * ratio).clip(-_CERTAIN, _CERTAIN)))
        return cast("Floats", (share**3 * (share * (share * 6.0 - 15.0) + 10.0)).astype(np.float32))


def opacity_mask(opacity: Floats, size: Size) -> Image.Image:
    """An opacity (h, w) as the composite's mask, "L", enlarged to `size` by Pillow's bicubic filter."""
    return to_picture(opacity).resize(size, Image.Resampling.BICUBIC)
