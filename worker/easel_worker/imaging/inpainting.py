"""Inpainting from the client's picture and mask to what is rendered, and back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from PIL import Image

from easel_worker.imaging import masks
from easel_worker.imaging.fill import fill
from easel_worker.imaging.levels import Floats
from easel_worker.imaging.overlay import composite, paste_region
from easel_worker.imaging.regions import Region, masked_region
from easel_worker.imaging.resize import ResizeMode, Size, Upscaler, resize, scale_to


class MaskedContent(IntEnum):
    """The request's ``inpainting_fill``: what the sampler starts from under the mask.

    FILL            the surrounding colours
    ORIGINAL        the picture itself
    LATENT_NOISE    FILL, and the latent is replaced by the noise of the images' seeds
    LATENT_NOTHING  FILL, and the latent is replaced by zeros
    """

    FILL = 0
    ORIGINAL = 1
    LATENT_NOISE = 2
    LATENT_NOTHING = 3


@dataclass(frozen=True)
class MaskFields:
    """A request's fields about its mask, with the request's defaults.

    blur_x, blur_y: sigmas in pixels of the picture as sent. hard: latent mask of 0 and 1 only
    (``mask_round``). inverted: repaint what the mask leaves black. only_masked: render the region around the
    mask at the job's size (``inpaint_full_res``). padding: pixels around that region.
    """

    blur_x: float = 4
    blur_y: float = 4
    hard: bool = True
    inverted: bool = False
    only_masked: bool = True
    padding: int = 0
    content: MaskedContent = MaskedContent.FILL


@dataclass(frozen=True)
class Inpainting:
    """One init image and its mask, ready to render.

    init: what the VAE encodes, "RGB", of the job's size (with resize mode 3 of its own size: its latent is
    resized). mask: softened, "L", of the job's size; a checkpoint for inpainting is conditioned on it.
    latent_source: the mask that the latent one is made of, of the job's size. original, overlay_mask: what
    the result is composited over, and where it shows; both of the final picture's size. region: the part of
    `original` that is rendered; None is all of it. upscaler: brings a result up to a larger region.
    """

    init: Image.Image
    mask: Image.Image
    latent_source: Image.Image
    original: Image.Image
    overlay_mask: Image.Image
    region: Region | None
    hard: bool
    upscaler: Upscaler | None = None

    def latent_mask(self, latent_size: Size) -> Floats:
        """(height, width) of the latent, 1 is repainted: `masks.latent_mask` of this job."""
        return masks.latent_mask(self.latent_source, latent_size, rounded=self.hard)

    def place(self, result: Image.Image) -> Image.Image:
        """`result` (the job's size) in the final picture's frame; around a region the original shows."""
        if self.region is None:
            return result
        return paste_region(self.original, result, self.region, self.upscaler)

    def place_mask(self, mask: Image.Image) -> Image.Image:
        """`mask`, "L", of the job's size, in the final picture's frame; 0 around a region.

        For an overlay that is known only after sampling: soft inpainting's.
        """
        if self.region is None:
            return mask
        return paste_region(Image.new("L", self.original.size), mask, self.region)

    def finish(self, result: Image.Image, overlay_mask: Image.Image | None = None) -> Image.Image:
        """The final picture: `result` where the mask says so, the original elsewhere, bit for bit.

        The mask is the job's own, unless another of the final picture's size is given.
        """
        return composite(self.original, self.place(result), overlay_mask or self.overlay_mask)


def prepare(
    image: Image.Image,
    mask: Image.Image,
    size: Size,
    fields: MaskFields,
    *,
    resize_mode: int = ResizeMode.STRETCH,
    upscaler: Upscaler | None = None,
    latent: Image.Image | None = None,
) -> Inpainting | None:
    """Prepare `image` ("RGB") and the client's `mask` (any mode) for a job of `size`.

    Returns None when the mask repaints nothing: the job is plain img2img. A mask of another size than the
    image is stretched to it. `latent` is a mask for the latent alone (the request's ``latent_mask``, already
    "L", not softened); without it the softened mask serves. The order is: alpha or brightness, inversion,
    softening, region, resizing, masked content.
    """
    softened = _soften(mask, image.size, fields)
    if masks.is_blank(softened):
        return None
    latent = softened if latent is None else _same_size(latent, image.size)
    region = masked_region(softened, fields.padding, size) if fields.only_masked else None

    if region is not None:
        original, overlay_mask = image, softened
        # Only a picture too small for the job's aspect ratio has a region without it: that one gets a border.
        mode = ResizeMode.CONTAIN
        image, softened, latent = image.crop(region), softened.crop(region), latent.crop(region)
    else:
        mode = ResizeMode(resize_mode)
    source, softened, latent = image, resize(softened, size, mode), resize(latent, size, mode)
    init = image if mode is ResizeMode.STRETCH_LATENT else resize(image, size, mode, upscaler)
    if region is None:
        original = scale_to(source, size) if mode is ResizeMode.STRETCH_LATENT else init
        overlay_mask = masks.raise_contrast(softened)
    if fields.content is not MaskedContent.ORIGINAL:
        init = fill(init, _same_size(latent, init.size))
    return Inpainting(init, softened, latent, original, overlay_mask, region, fields.hard, upscaler)


def _soften(mask: Image.Image, size: Size, fields: MaskFields) -> Image.Image:
    binary = masks.mask_from(mask, hard_alpha=fields.hard)
    if fields.inverted:
        binary = masks.invert(binary)
    return masks.blur(_same_size(binary, size), fields.blur_x, fields.blur_y)


def _same_size(mask: Image.Image, size: Size) -> Image.Image:
    # Bilinear, because Lanczos would overshoot and mark pixels beside the mask as repainted.
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
