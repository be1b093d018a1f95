"""Masked content "fill": the hole is painted with the colours around it before it is repainted."""

from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps

# Blur radius in pixels and how often that layer is laid on, coarse to fine. The coarse layers reach every
# part of a hole; laying a fine one on repeatedly lets the nearest colours win at the rim. Radius 0 is the
# kept part itself.
_LAYERS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


def fill(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` ("RGB") with the part under `mask` replaced by blurred surroundings; same size, "RGB".

    The kept part is blurred at several radii together with its coverage (premultiplied alpha), so that the
    hole's own colours never take part, and the layers are composited from coarse to fine. Where nothing is
    kept at all the result is black.
    """
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    filled = Image.new("RGBA", image.size)
    for radius, times in _LAYERS:
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            filled.alpha_composite(layer)
    return filled.convert("RGB")
