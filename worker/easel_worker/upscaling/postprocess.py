"""What the extras calls do to one picture: which size it gets, the blend of two upscalers, the crop."""

from __future__ import annotations

import math

from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.extras import NO_UPSCALER, ExtrasRequest
from easel_worker.upscaling.upscalers import Size, Tick, Upscaler

ROUND_TO = 8
"""By a factor, both sides are rounded down to a multiple of this, as A1111 does."""


def enlarges(request: ExtrasRequest) -> bool:
    """Whether the picture's size changes at all: without a first upscaler nothing else counts."""
    return request.upscaler_1.strip() not in ("", NO_UPSCALER)


def blends(request: ExtrasRequest) -> bool:
    """Whether a second upscaler is seen."""
    asked = request.upscaler_2.strip() not in ("", NO_UPSCALER)
    return enlarges(request) and asked and request.extras_upscaler_2_visibility > 0


def enlarged_size(size: Size, request: ExtrasRequest, *, max_pixels: int) -> Size:
    """The size before the crop.

    By a factor: ``floor(side * factor / 8) * 8``. To a size: the smallest one of the picture's proportions
    that covers it, so that a crop has no empty border.

    Raises:
        ContractError: nothing is left of it, or it has more than `max_pixels`.
    """
    if not enlarges(request):
        return size
    if request.resize_mode == 0:
        field, factor = "upscaling_resize", request.upscaling_resize
        width, height = (int(side * factor // ROUND_TO * ROUND_TO) for side in size)
    else:
        field = "upscaling_resize_w"
        wanted = request.upscaling_resize_w, request.upscaling_resize_h
        factor = max(wanted[0] / size[0], wanted[1] / size[1])
        width, height = (
            max(asked, math.floor(side * factor + 0.5)) for asked, side in zip(wanted, size, strict=True)
        )
    if not (width and height):
        raise ContractError(
            f"{size[0]}x{size[1]} times {factor:g} leaves less than {ROUND_TO} pixels of a side", field=field
        )
    if width * height > max_pixels:
        raise ContractError(
            f"makes {width}x{height} pixels, more than this service allows; at most {max_pixels} "
            "(EASEL_IMAGE_MAX_PIXELS)",
            field=field,
            kind="too_large",
        )
    return width, height


def enlarge(
    picture: Image.Image,
    request: ExtrasRequest,
    *,
    first: Upscaler,
    second: Upscaler | None,
    size: Size,
    tick: Tick,
) -> Image.Image:
    """`picture` at `size` (of `enlarged_size`) through one upscaler or a blend of two, then cropped."""
    result = first(picture, size, tick=tick)
    if second is not None:
        result = Image.blend(result, second(picture, size, tick=tick), request.extras_upscaler_2_visibility)
    if request.resize_mode == 1 and request.upscaling_crop:
        result = crop_centre(result, (request.upscaling_resize_w, request.upscaling_resize_h))
    return result


def crop_centre(picture: Image.Image, size: Size) -> Image.Image:
    """The middle of a picture that is at least as large as `size`."""
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    return picture.crop((left, top, left + size[0], top + size[1]))


def describe(request: ExtrasRequest) -> str:
    """What was done, as the text chunk ``postprocessing`` tells it."""
    told: dict[str, str] = {}
    if enlarges(request):
        if request.resize_mode == 0:
            told["Postprocess upscale by"] = f"{request.upscaling_resize:g}"
        else:
            told["Postprocess upscale to"] = f"{request.upscaling_resize_w}x{request.upscaling_resize_h}"
        told["Postprocess upscaler"] = request.upscaler_1
    if blends(request):
        told["Postprocess upscaler 2"] = request.upscaler_2
        told["Postprocess upscaler 2 visibility"] = f"{request.extras_upscaler_2_visibility:g}"
    if request.gfpgan_visibility:
        told["GFPGAN visibility"] = f"{request.gfpgan_visibility:g}"
    if request.codeformer_visibility:
        told["CodeFormer visibility"] = f"{request.codeformer_visibility:g}"
        told["CodeFormer weight"] = f"{request.codeformer_weight:g}"
    return ", ".join(f"{name}: {value}" for name, value in told.items())
