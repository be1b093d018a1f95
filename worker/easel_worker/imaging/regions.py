"""The part of a picture that "only masked" renders: around the mask, in the job's aspect ratio."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image

from easel_worker.imaging.resize import Size


class Region(NamedTuple):
    """A rectangle of a picture in pixels; `right` and `bottom` are the first ones outside, as in Pillow."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def size(self) -> Size:
        return self.width, self.height


def masked_region(mask: Image.Image, padding: int, job_size: Size) -> Region | None:
    """What to cut out of the picture to repaint `mask`; None for a blank mask.

    The bounding box of mask > 0 grows by `padding` pixels (``inpaint_full_res_padding``) on every side, then
    in one direction to the aspect ratio of `job_size`, and stays inside the picture: where it would stick
    out it is moved, and only where the picture is too small for it does the aspect ratio give way.
    """
    box = mask.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    padded = Region(
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, mask.width),
        min(bottom + padding, mask.height),
    )
    return to_aspect(padded, job_size, mask.size)


def to_aspect(region: Region, aspect: Size, bounds: Size) -> Region:
    """Grow `region` in one direction to the ratio of `aspect`, inside a picture of size `bounds`."""
    width, height = aspect
    if region.width * height > region.height * width:
        wanted = region.width * height // width
        top, bottom = _grown(region.top, region.bottom, wanted, bounds[1])
        return region._replace(top=top, bottom=bottom)
    wanted = region.height * width // height
    left, right = _grown(region.left, region.right, wanted, bounds[0])
    return region._replace(left=left, right=right)


def _grown(start: int, end: int, length: int, limit: int) -> tuple[int, int]:
    """Grow start … end around its middle to `length`, inside 0 … limit."""
    length = min(length, limit)
    start -= (length - (end - start)) // 2
    start = min(max(start, 0), limit - length)
    return start, start + length
