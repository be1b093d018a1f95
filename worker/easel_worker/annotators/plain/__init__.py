"""Preprocessors without weights: NumPy and OpenCV only, on any thread.

    lines.py     canny, scribble_xdog, lineart_standard, invert, threshold
    colours.py   blur_gaussian, shuffle, tile_*, color, recolor_*
    masks.py     inpaint, inpaint_only
    sharpen.py   what tile_colorfix+sharp does to the picture that was rendered, beside its colours

`PLAIN` has them by their name on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.plain import colours, lines

PLAIN: Mapping[str, Callable[[Pixels, Controls], Pixels]] = MappingProxyType(
    {
        "none": colours.same,
        "canny": lines.canny,
        "invert": lines.invert,
        "blur_gaussian": colours.blur_gaussian,
        "scribble_xdog": lines.scribble_xdog,
        "shuffle": colours.shuffle,
        "threshold": lines.threshold,
        "tile_resample": colours.tile_resample,
        "tile_colorfix": colours.same,
        "tile_colorfix+sharp": colours.same,
        "color": colours.color_grid,
        "recolor_luminance": colours.recolor_luminance,
        "recolor_intensity": colours.recolor_intensity,
        "reference_only": colours.same,
        "reference_adain": colours.same,
        "reference_adain+attn": colours.same,
        "lineart_standard": lines.lineart_standard,
    }
)

__all__ = ["PLAIN"]
