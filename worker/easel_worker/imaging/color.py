"""Colour correction: a result gets the colours of the init image back."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from easel_worker.imaging.levels import HIGHEST, Floats, to_picture, to_unit

# IEC 61966-2-1 (sRGB): linear RGB to CIE XYZ, white point D65.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# The white point as the matrix gives it, so that white has a = b = 0 exactly.
_WHITE = _TO_XYZ.sum(axis=1)
_TO_RELATIVE_XYZ = (_TO_XYZ / _WHITE[:, None]).astype(np.float32)
_FROM_RELATIVE_XYZ = np.linalg.inv(_TO_XYZ / _WHITE[:, None]).astype(np.float32)

# CIE 15: L*a*b*. Below DELTA ** 3 the cube root gives way to its tangent.
_DELTA = np.float32(6 / 29)

# Levels of 8-bit LAB per unit of L*, a*, b*: L* is stretched to 0 … 255.
_LEVELS_PER_UNIT = np.array([2.55, 1.0, 1.0], dtype=np.float32)

# W3C Compositing and Blending Level 1, section 10: luminosity of an sRGB colour.
_LUMINOSITY = np.array([0.3, 0.59, 0.11], dtype=np.float32)


def rgb_to_lab(rgb: NDArray[np.uint8]) -> Floats:
    """sRGB (…, 3), 0 to 255 -> CIE L*a*b* (D65), float32: L 0 to 100, a and b about -108 to 99."""
    xyz = _LINEAR[rgb] @ _TO_RELATIVE_XYZ.T
    response = np.where(xyz > _DELTA**3, np.cbrt(xyz), xyz / (3 * _DELTA**2) + np.float32(4 / 29))
    x, y, z = np.moveaxis(response, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def lab_to_rgb(lab: Floats) -> NDArray[np.uint8]:
    """CIE L*a*b* (D65), (…, 3) -> sRGB, rounded; colours that sRGB lacks are clipped channel by channel."""
    y = (lab[..., 0] + 16) / 116
    response = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(response > _DELTA, response**3, 3 * _DELTA**2 * (response - np.float32(4 / 29)))
    linear = (xyz @ _FROM_RELATIVE_XYZ.T).clip(0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cast("NDArray[np.uint8]", np.rint(encoded * HIGHEST).astype(np.uint8))


def match_histograms(source: Floats, reference: Floats) -> Floats:
    """`source` (n, channels) with each channel's values replaced so that they are spread as `reference`'s.

    A value goes to the one at the same quantile of the reference (Gonzalez & Woods, Digital Image Processing,
    section 3.3), interpolated linearly; equal values stay equal, and their order stays. The two may differ in
    length.
    """
    matched = np.empty_like(source)
    for channel in range(source.shape[1]):
        _, places, counts = np.unique(source[:, channel], return_inverse=True, return_counts=True)
        values, value_counts = np.unique(reference[:, channel], return_counts=True)
        quantiles = np.cumsum(counts) / len(source)
        value_quantiles = np.cumsum(value_counts) / len(reference)
        matched[:, channel] = np.interp(quantiles, value_quantiles, values)[places]
    return matched


def with_luminosity(colour: Floats, luminosity: Floats) -> Floats:
    """`colour` (…, 3) moved to the luminosity of the picture `luminosity`; both RGB, 0 to 1.

    The non-separable blend mode "luminosity" of W3C Compositing and Blending Level 1, section 10.2.4: every
    channel is shifted equally; what leaves 0 … 1 is drawn towards grey without changing the luminosity.
    """
    target = (luminosity @ _LUMINOSITY)[..., None]
    moved = colour + (target - (colour @ _LUMINOSITY)[..., None])
    lowest, highest = moved.min(axis=-1, keepdims=True), moved.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # both branches are computed, one is taken
        lifted = target + (moved - target) * target / (target - lowest)
        moved = np.where(lowest < 0, lifted, moved)
        lowered = target + (moved - target) * (1 - target) / (highest - target)
    return cast("Floats", np.where(highest > 1, lowered, moved).clip(0.0, 1.0).astype(np.float32))


def correct_colours(
    result: Image.Image, reference: Image.Image, *, keep_luminosity: bool = True
) -> Image.Image:
    """`result` with the colours of `reference` (the init image); "RGB", sizes may differ.

    The LAB histograms are matched, channel by channel. `keep_luminosity` then takes light and dark from the
    result again, as A1111 does: only hue and saturation are corrected, so that edges stay as rendered.
    Without it brightness follows the reference too.

    Histograms are those of 8-bit LAB, so that an even area goes to one colour and not, by its last traces of
    noise, to many. What is between two levels is kept: the correction is added to the unrounded colour.
    """
    result = result.convert("RGB")
    lab = rgb_to_lab(np.asarray(result))
    levels = _lab_levels(lab)
    wanted = _lab_levels(rgb_to_lab(np.asarray(reference.convert("RGB"))))
    matched = match_histograms(levels.reshape(-1, 3), wanted.reshape(-1, 3)).reshape(lab.shape)
    corrected = lab_to_rgb(lab + (matched - levels) / _LEVELS_PER_UNIT)
    picture = Image.fromarray(corrected)
    if keep_luminosity:
        return to_picture(with_luminosity(to_unit(picture), to_unit(result)))
    return picture


def _lab_levels(lab: Floats) -> Floats:
    return cast("Floats", np.rint(lab * _LEVELS_PER_UNIT))


def _linear_levels() -> Floats:
    """Linear light of the 256 sRGB levels."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


_LINEAR = _linear_levels()
