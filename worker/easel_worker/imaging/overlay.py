"""A result and the original picture, put together by the mask."""

from __future__ import annotations

from PIL import Image

from easel_worker.imaging.regions import Region
from easel_worker.imaging.resize import ResizeMode, Upscaler, resize


def composite(original: Image.Image, result: Image.Image, mask: Image.Image) -> Image.Image:
    """`result` where the mask is 255, `original` where it is 0, mixed between; all of one size.

    Pixels under mask 0 are the original's, bit for bit.
    """
    return Image.composite(result, original, mask)


def paste_region(
    canvas: Image.Image, result: Image.Image, region: Region, upscaler: Upscaler | None = None
) -> Image.Image:
    """A copy of `canvas` with `result` in `region`.

    The result is brought to the region's size by covering it (resize mode 1): where the region could not have
    the job's aspect ratio, the filled border that the result was rendered with is cut off again.
    """
    pasted = canvas.copy()
    pasted.paste(resize(result, region.size, ResizeMode.COVER, upscaler), (region.left, region.top))
    return pasted


def mask_picture(mask: Image.Image) -> Image.Image:
    """The extra picture of the option ``return_mask``: the composite's mask as "RGB"."""
    return mask.convert("RGB")


def masked_result(result: Image.Image, mask: Image.Image) -> Image.Image:
    """The extra picture of the option ``return_mask_composite``: `result` with the mask as its alpha, "RGBA".

    `result` is the picture before the composite. Colours under alpha 0 are black: nothing of what the mask
    hides is given away.
    """
    cut = Image.new("RGBA", result.size)
    cut.paste(result.convert("RGB"), mask=mask.point(lambda level: 255 * (level > 0)))
    cut.putalpha(mask)
    return cut
