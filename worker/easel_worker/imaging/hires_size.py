"""Sizes of the hires fix: what the first pass is enlarged to, and what is cut off then."""

from __future__ import annotations

import math
from dataclasses import dataclass

from easel_worker.imaging.resize import Size, covering_size

LATENT_FACTOR = 8
"""Picture pixels per latent pixel, in each direction."""

# The first pass of the legacy rule has about this many pixels, in multiples of the step.
_LEGACY_PIXELS = 512 * 512
_LEGACY_STEP = 64


@dataclass(frozen=True)
class HiresSize:
    """width, height: what the picture (or 8 times its latent) is enlarged to, in pixels.

    cut_x, cut_y: latent pixels to cut off after that, together on both sides; 0 unless both sides were given
    with another aspect ratio than the first pass's.
    """

    width: int
    height: int
    cut_x: int = 0
    cut_y: int = 0

    @property
    def size(self) -> Size:
        """What to enlarge to, (width, height) in pixels."""
        return self.width, self.height

    @property
    def latent_size(self) -> Size:
        """What to enlarge a latent to, (width, height) in latent pixels."""
        return self.width // LATENT_FACTOR, self.height // LATENT_FACTOR

    @property
    def final_size(self) -> Size:
        """The finished picture, (width, height) in pixels, multiples of 8."""
        width, height = self.latent_size
        return (width - self.cut_x) * LATENT_FACTOR, (height - self.cut_y) * LATENT_FACTOR

    @property
    def kept(self) -> tuple[slice, slice]:
        """Rows and columns of the enlarged latent that are kept: ``latents[..., rows, columns]``."""
        width, height = self.latent_size
        return _middle(height, self.cut_y), _middle(width, self.cut_x)


def hires_size(first: Size, *, scale: float = 2.0, resize_x: int = 0, resize_y: int = 0) -> HiresSize:
    """What `first` (width, height in pixels) is enlarged to.

    Without `resize_x` and `resize_y` (``hr_resize_x``, ``hr_resize_y``; 0 is unset) both sides are
    multiplied by `scale`. With one of them the other follows the aspect ratio. With both the smallest size
    that covers them is taken, and the rest cut off in the latent, so the final sides are multiples of 8.
    Raises `ValueError` for a negative side, or for a final size below 8 pixels.
    """
    if min(resize_x, resize_y) < 0:
        raise ValueError(f"hr_resize: {resize_x}x{resize_y} should be 0 or more")
    width, height = first
    if resize_x and resize_y:
        covering = covering_size(first, (resize_x, resize_y))
        cuts = (covering[0] - resize_x) // LATENT_FACTOR, (covering[1] - resize_y) // LATENT_FACTOR
        return _checked(HiresSize(*covering, *cuts))
    if resize_x:
        return _checked(HiresSize(resize_x, resize_x * height // width))
    if resize_y:
        return _checked(HiresSize(resize_y * width // height, resize_y))
    return _checked(HiresSize(int(width * scale), int(height * scale)))


def legacy_sizes(target: Size, first: Size) -> tuple[Size, Size]:
    """First pass and enlarged size under the option ``use_old_hires_fix_width_height``.

    There `target` (``width`` and ``height``) is the final size, and `first` (``firstphase_width`` and
    ``firstphase_height``) the first pass's. A first size of 0 x 0 becomes `target` scaled down to about
    512 x 512 pixels, each side rounded up to a multiple of 64.
    """
    if first == (0, 0):
        scale = math.sqrt(_LEGACY_PIXELS / (target[0] * target[1]))
        first = _round_up(scale * target[0]), _round_up(scale * target[1])
    return first, target


def _round_up(side: float) -> int:
    return math.ceil(side / _LEGACY_STEP) * _LEGACY_STEP


def _middle(length: int, cut: int) -> slice:
    return slice(cut // 2, length - (cut + 1) // 2)


def _checked(size: HiresSize) -> HiresSize:
    if min(size.final_size) < LATENT_FACTOR:
        width, height = size.final_size
        raise ValueError(f"hires size: {width}x{height} should be at least {LATENT_FACTOR}x{LATENT_FACTOR}")
    return size
