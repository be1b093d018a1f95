"""Preprocessors without weights: NumPy and OpenCV only, on any thread.

    lines.py     canny, scribble_xdog, lineart_standard, invert, threshold
    colours.py   blur_gaussian, shuffle, tile_*, color, recolor_*
    masks.py     inpaint, inpaint_only
    colorfix.py  what tile_colorfix does to the picture that was rendered

`PLAIN` has them by their name on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.plain import colours, lines


@dataclass(frozen=True)
class Plain:
    """One of them.

    Attributes:
        make: (h, w, 3) to a map.
        resized: Whether it works at the resolution that was asked for; else at the picture's own size, where
            that makes no difference to what is told and only loses detail.
    """

    make: Callable[[Pixels, Controls], Pixels]
    resized: bool = True


_SAME = Plain(colours.same, resized=False)

PLAIN: Mapping[str, Plain] = MappingProxyType(
    {
        "none": _SAME,
        "canny": Plain(lines.canny),
        "invert": Plain(lines.invert, resized=False),
        "blur_gaussian": Plain(colours.blur_gaussian),
        "scribble_xdog": Plain(lines.scribble_xdog),
        "shuffle": Plain(colours.shuffle),
        "threshold": Plain(lines.threshold),
        "tile_resample": Plain(colours.tile_resample, resized=False),
        "tile_colorfix": _SAME,
        "tile_colorfix+sharp": _SAME,
        "color": Plain(colours.color_grid),
        "recolor_luminance": Plain(colours.recolor_luminance, resized=False),
        "recolor_intensity": Plain(colours.recolor_intensity, resized=False),
        "reference_only": _SAME,
        "reference_adain": _SAME,
        "reference_adain+attn": _SAME,
        "lineart_standard": Plain(lines.lineart_standard),
    }
)

__all__ = ["PLAIN", "Plain"]
