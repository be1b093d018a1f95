"""Which picture a unit looks at.

Its own; else img2img's, with img2img's way to bring it to the job's size. Under "only masked" both are cut to
the part that is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from easel_contract.controlnet import ResizeMode
from easel_worker.annotators import Pixels
from easel_worker.annotators.scribbles import CLEAR, drawing_of
from easel_worker.generation.control.unit import Mask, Unit, UnitImage
from easel_worker.generation.job import Source
from easel_worker.imaging import masks
from easel_worker.imaging.inpainting import MaskFields
from easel_worker.imaging.regions import Region, masked_region
from easel_worker.imaging.resize import ResizeMode as Fit
from easel_worker.imaging.resize import Size, resize

_FITS = {
    ResizeMode.JUST_RESIZE: Fit.STRETCH,
    ResizeMode.CROP_AND_RESIZE: Fit.COVER,
    ResizeMode.RESIZE_AND_FILL: Fit.CONTAIN,
}
_MODES = {
    Fit.STRETCH: ResizeMode.JUST_RESIZE,
    Fit.COVER: ResizeMode.CROP_AND_RESIZE,
    Fit.CONTAIN: ResizeMode.RESIZE_AND_FILL,
    Fit.STRETCH_LATENT: ResizeMode.JUST_RESIZE,
}


@dataclass(frozen=True, eq=False)
class Same:
    """A picture in a key: equal to itself alone, whatever others look like. It lives as long as the key, so
    that no later one can have its `id`."""

    picture: Image.Image

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.picture is self.picture

    def __hash__(self) -> int:
        return id(self.picture)


@dataclass(frozen=True, eq=False)
class Sight:
    """What a preprocessor is shown for one picture of a batch.

    key: equal for sights of the same pictures. mask: of the same size, 255 is masked; None without one. mode:
    how its map is brought to the job's size. drawn: it is a map already.
    """

    key: tuple[object, ...]
    pixels: Pixels
    mask: Mask | None
    mode: ResizeMode
    drawn: bool = False


def sights(unit: Unit, source: Source | None, size: Size) -> tuple[Sight, ...]:
    """What a unit looks at: its own picture, or one for each of img2img's.

    Args:
        source: img2img's, whose picture, mask and "only masked" region may take part; None for txt2img.
        size: Width and height of the job in pixels.

    The caller has seen to it that there is a picture.
    """
    if unit.images:
        return (_own(unit, unit.images[0], source, size),)
    return tuple(_lent(unit, image, source, size) for image in source.images) if source else ()


def _own(unit: Unit, image: UnitImage, source: Source | None, size: Size) -> Sight:
    pixels, mask = image.pixels, image.mask
    mode = unit.asked.resize_mode
    key: tuple[object, ...] = ("own",)
    drawing = None if unit.inpaints else drawing_of(mask)
    if drawing is not None:
        pixels = drawing
    if not unit.inpaints or (mask is not None and mask.max() <= CLEAR):
        mask = None
    region = None
    if source is not None and source.mask is not None:
        fields = source.fields
        frame = source.images[0].size
        softened = _softened(source.mask, frame, fields)
        if unit.inpaints and mask is None:
            mask = np.asarray(softened.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BILINEAR))
            key = ("own", Same(source.mask), frame, fields)
        if fields.only_masked and unit.asked.inpaint_crop_input_image:
            region = masked_region(softened, fields.padding, size)
        if region is not None:
            fit = _FITS[mode]
            pixels = np.asarray(resize(Image.fromarray(pixels), frame, fit))
            mask = None if mask is None else np.asarray(resize(Image.fromarray(mask), frame, fit))
            key = ("own", Same(source.mask), Same(source.images[0]), fields, size)
    return _cut(Sight(key, pixels, mask, mode, drawing is not None), region)


def _lent(unit: Unit, image: Image.Image, source: Source, size: Size) -> Sight:
    key: tuple[object, ...] = ("init", Same(image), source.resize_mode)
    mask: Mask | None = unit.mask if unit.inpaints else None
    if mask is not None and mask.shape != (image.height, image.width):
        mask = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.BILINEAR))
    region = None
    if source.mask is not None:
        softened = _softened(source.mask, image.size, source.fields)
        if unit.inpaints and mask is None:
            mask = np.asarray(softened)
        if source.fields.only_masked:
            region = masked_region(softened, source.fields.padding, size)
        key = (*key, Same(source.mask), source.fields, size)
    return _cut(Sight(key, np.asarray(image), mask, _MODES[Fit(source.resize_mode)]), region)


def _cut(sight: Sight, region: Region | None) -> Sight:
    if region is None:
        return sight
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    mask = None if sight.mask is None else np.ascontiguousarray(sight.mask[rows, columns])
    # The region has the job's aspect ratio, unless the picture was too small for it.
    pixels = np.ascontiguousarray(sight.pixels[rows, columns])
    return replace(sight, pixels=pixels, mask=mask, mode=ResizeMode.RESIZE_AND_FILL)


def _softened(mask: Image.Image, size: Size, fields: MaskFields) -> Image.Image:
    """img2img's mask as a unit sees it: brightness or alpha, inverted if asked, of this size, softened."""
    grey = masks.mask_from(mask, hard_alpha=fields.hard)
    grey = masks.invert(grey) if fields.inverted else grey
    grey = grey if grey.size == size else grey.resize(size, Image.Resampling.BILINEAR)
    return masks.blur(grey, fields.blur_x, fields.blur_y)
