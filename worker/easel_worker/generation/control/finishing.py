"""What units do to the decoded picture, as the ControlNet extension does behind its networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from easel_contract.options import RenderOptions
from easel_worker.annotators import Pixels
from easel_worker.annotators.plain.sharpen import sharpened
from easel_worker.generation.control.colours import with_colours, with_intensity, with_lightness
from easel_worker.generation.control.unit import Unit
from easel_worker.imaging import masks

Finish = Callable[[Pixels, Pixels], Pixels]
"""(decoded picture, the unit's map of the same size) -> the picture."""


def finisher(unit: Unit, options: RenderOptions) -> Finish | None:
    """What a unit's module has to put right in pictures; None for most."""
    module = unit.asked.module
    if module == "recolor_luminance":
        return with_lightness
    if module == "recolor_intensity":
        return with_intensity
    if module == "tile_colorfix":
        return lambda picture, source: with_colours(picture, source, unit.asked.threshold_a)
    if module == "tile_colorfix+sharp":
        return lambda picture, source: sharpened(
            with_colours(picture, source, unit.asked.threshold_a), unit.asked.threshold_b
        )
    if module.startswith("inpaint_only"):
        return lambda picture, hidden: kept_outside(picture, hidden, options.control_net_inpaint_blur_sigma)
    return None


def kept_outside(picture: Pixels, hidden: Pixels, softness: float) -> Pixels:
    """`picture` where `hidden`, (h, w, 4), is masked, and its colours elsewhere; outside of the mask one goes
    over into the other within about `softness` pixels. Where nothing is masked, `picture` as it is."""
    mask = Image.fromarray(np.ascontiguousarray(hidden[..., -1]))
    if hidden.shape[2] == 3 or masks.is_blank(mask):
        return picture
    opacity = np.asarray(masks.raise_contrast(masks.blur(mask, softness, softness)), dtype=np.float32)
    share = np.maximum(opacity, np.asarray(mask, dtype=np.float32))[..., None] / 255.0
    mixed = picture * share + hidden[..., :3] * (1.0 - share)
    levels: Pixels = np.rint(mixed).astype(np.uint8)
    return levels
