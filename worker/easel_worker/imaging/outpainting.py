"""Growing a picture beyond its edges: the img2img runs of "Outpainting mk2" and "Poor man's outpainting".

Both scripts round the grown size up to multiples of 64 and render only part of the picture at a time. The
functions here make each run's pictures and put the results together; rendering is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from PIL import Image

from easel_worker.imaging import masks
from easel_worker.imaging.levels import to_picture, to_unit
from easel_worker.imaging.regions import Region
from easel_worker.imaging.resize import Size
from easel_worker.imaging.spectral import matched_noise
from easel_worker.imaging.tiles import TileGrid, split, stitch, tile_grid

STEP = 64
"""Grown sides are multiples of this many pixels."""

_LATENT_FACTOR = 8


class Side(str, Enum):
    """Where a picture grows; the values are the scripts' ``directions``, in the order they are done."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Margins:
    """Pixels added at each side."""

    left: int = 0
    right: int = 0
    up: int = 0
    down: int = 0

    def grown(self, size: Size) -> Size:
        """The size of a picture of `size` with these margins: check it against the limits before drawing."""
        return size[0] + self.left + self.right, size[1] + self.up + self.down

    def steps(self) -> list[tuple[Side, int]]:
        """The sides that grow, in order, with their pixels."""
        return [(side, pixels) for side in Side if (pixels := getattr(self, side.value))]


@dataclass(frozen=True)
class ExpandRun:
    """One img2img run of "Outpainting mk2": one side of the picture.

    Render `init` with `mask` and `latent_mask` (all of the run's `size`, sides multiples of 8) as whole
    picture, masked content "original", mask blur `blur_x`, `blur_y`; then `finish` the result.
    """

    init: Image.Image
    mask: Image.Image
    latent_mask: Image.Image
    blur_x: int
    blur_y: int
    canvas: Image.Image
    window: Region

    @property
    def size(self) -> Size:
        """The run's width and height."""
        return self.init.size

    def finish(self, result: Image.Image) -> Image.Image:
        """The grown picture, with `result` (the run's size) in its place."""
        grown = self.canvas.copy()
        grown.paste(result.resize(self.window.size, Image.Resampling.LANCZOS), self.window[:2])
        return grown


@dataclass(frozen=True)
class TileRun:
    """One img2img run of "Poor man's outpainting": the tile number `index`, its masks of the same size."""

    index: int
    init: Image.Image
    mask: Image.Image
    latent_mask: Image.Image


@dataclass(frozen=True)
class TiledCanvas:
    """A picture on its grown canvas, cut into tiles.

    Render every run as whole picture with mask blur `blur` and the script's masked content; then `finish`.
    """

    grid: TileGrid
    tiles: tuple[Image.Image, ...]
    runs: tuple[TileRun, ...]
    blur: int

    def finish(self, results: Sequence[Image.Image]) -> Image.Image:
        """The grown picture from one result per run, in order; tiles without a run stay as they were."""
        tiles = list(self.tiles)
        for run, result in zip(self.runs, results, strict=True):
            tiles[run.index] = result
        return stitch(tiles, self.grid)


def margins(size: Size, pixels: int, directions: Iterable[str]) -> Margins:
    """By how much a picture of `size` grows for `pixels` at each of `directions`.

    Where a side of the picture grows it is rounded up to a multiple of 64, and the surplus shared out.
    Raises `ValueError` for a direction that does not exist or for negative `pixels`.
    """
    if pixels < 0:
        raise ValueError(f"pixels: {pixels} should be 0 or more")
    asked = {_side(direction) for direction in directions}
    left, right = _share(size[0], pixels * (Side.LEFT in asked), pixels * (Side.RIGHT in asked))
    up, down = _share(size[1], pixels * (Side.UP in asked), pixels * (Side.DOWN in asked))
    return Margins(left, right, up, down)


def expand(
    image: Image.Image,
    side: Side,
    pixels: int,
    job_size: Size,
    *,
    mask_blur: int = 8,
    noise_q: float = 1.0,
    color_variation: float = 0.05,
) -> ExpandRun:
    """Grow `image` ("RGB") by `pixels` at one side: the next run of "Outpainting mk2".

    The new part, and `mask_blur` pixels of the old one, are filled with noise matched to the picture
    (`spectral.matched_noise`: `noise_q` is its exponent, `color_variation` its colour) and masked. The run's
    blur across the edge is 4 * `mask_blur`, so the result fades into the picture over about that much; the
    latent mask is hard and reaches 2 * `mask_blur` inwards. In the direction of growth the run is as long as
    the job's side, or the whole picture if that is less; in the other it covers the picture.
    """
    only = Margins(**{side.value: pixels})
    size = only.grown(image.size)
    canvas = Image.new("RGB", size)
    canvas.paste(image, (only.left, only.up))
    horizontal = side in (Side.LEFT, Side.RIGHT)

    mask = _border(size, side, pixels + mask_blur)
    noised = matched_noise(to_unit(canvas), to_unit(mask), exponent=noise_q, colour=color_variation)
    canvas = to_picture(noised)

    window = _window(size, side, job_size)
    run_size = _to_latent_multiple(window.width), _to_latent_multiple(window.height)
    return ExpandRun(
        init=canvas.crop(window).resize(run_size, Image.Resampling.LANCZOS),
        mask=mask.crop(window).resize(run_size, Image.Resampling.NEAREST),
        latent_mask=_border(size, side, pixels + 2 * mask_blur)
        .crop(window)
        .resize(run_size, Image.Resampling.NEAREST),
        blur_x=4 * mask_blur if horizontal else 0,
        blur_y=0 if horizontal else 4 * mask_blur,
        canvas=canvas,
        window=window,
    )


def poor_mans(
    image: Image.Image, added: Margins, job_size: Size, *, pixels: int = 128, mask_blur: int = 4
) -> TiledCanvas:
    """The tiled runs of "Poor man's outpainting": `image` ("RGB") grown by `added`, black outside.

    Tiles are of `job_size` and share `pixels` (at most half a tile); those that hold nothing new have no run.
    The mask reaches 2 * `mask_blur` pixels into the picture and is blurred by as much, the latent mask
    reaches `mask_blur` // 2.
    """
    size = added.grown(image.size)
    canvas = Image.new("RGB", size)
    canvas.paste(image, (added.left, added.up))
    grid = poor_mans_grid(size, job_size, pixels)
    tiles = split(canvas, grid)
    tile_masks = split(_frame(size, added, 2 * mask_blur), grid)
    latent_masks = split(_frame(size, added, mask_blur // 2), grid)
    runs = tuple(
        TileRun(index, tiles[index], mask, latent_masks[index])
        for index, mask in enumerate(tile_masks)
        if not masks.is_blank(mask)
    )
    return TiledCanvas(grid, tuple(tiles), runs, blur=2 * mask_blur)


def poor_mans_grid(size: Size, job_size: Size, pixels: int) -> TileGrid:
    """The tiles of a grown canvas of `size`: check how many there are before drawing."""
    return tile_grid(size, job_size, min(pixels, min(job_size) // 2))


def _side(direction: str) -> Side:
    try:
        return Side(direction.lower())
    except (AttributeError, ValueError):
        known = ", ".join(side.value for side in Side)
        raise ValueError(f"directions: {direction!r} is unknown, use some of {known}") from None


def _share(length: int, first: int, second: int) -> tuple[int, int]:
    """What to add before and after `length`, for a sum that is a multiple of 64."""
    if first + second == 0:
        return 0, 0
    added = math.ceil((length + first + second) / STEP) * STEP - length
    before = first * added // (first + second)
    return before, added - before


def _border(size: Size, side: Side, depth: int) -> Image.Image:
    """A mask of `size`: 255 on `depth` pixels along one side, 0 elsewhere."""
    return _frame(size, Margins(**{side.value: depth}), 0)


def _frame(size: Size, added: Margins, inwards: int) -> Image.Image:
    """A mask of `size`: 255 on the margins and `inwards` pixels further, at the sides that grow."""
    kept = Region(
        added.left + inwards * (added.left > 0),
        added.up + inwards * (added.up > 0),
        size[0] - added.right - inwards * (added.right > 0),
        size[1] - added.down - inwards * (added.down > 0),
    )
    mask = Image.new("L", size, masks.OPAQUE)
    if kept.width > 0 and kept.height > 0:
        mask.paste(0, kept)
    return mask


def _window(size: Size, side: Side, job_size: Size) -> Region:
    """The part of the grown picture to render: at the growing side, as long as the job's."""
    width, height = size
    match side:
        case Side.LEFT:
            return Region(0, 0, min(job_size[0], width), height)
        case Side.RIGHT:
            return Region(max(width - job_size[0], 0), 0, width, height)
        case Side.UP:
            return Region(0, 0, width, min(job_size[1], height))
        case Side.DOWN:
            return Region(0, max(height - job_size[1], 0), width, height)


def _to_latent_multiple(length: int) -> int:
    return max(1, round(length / _LATENT_FACTOR)) * _LATENT_FACTOR
