"""SD upscale: the init image enlarged, then drawn anew tile by tile."""

from __future__ import annotations

from dataclasses import replace

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests.scripts import SDUpscale
from easel_worker.generation.job import Job
from easel_worker.generation.result import Generate, Result, Shot
from easel_worker.generation.scripts.sources import source_of
from easel_worker.imaging.resize import Upscaler
from easel_worker.imaging.tiles import TileGrid, split, stitch, tile_grid


def grid_of(script: SDUpscale, job: Job, limits: Limits) -> TileGrid:
    """The tiles of the enlarged picture, of the job's size.

    Raises:
        ContractError: 422, the enlarged picture is larger than the operator allows, or the overlap is not
            less than a tile.
    """
    width, height = (int(side * script.scale) // 8 * 8 for side in source_of(job).images[0].size)
    if max(width, height) > limits.max_side * 4 or width * height > limits.max_pixels * 4:
        raise ContractError(
            f"the picture would be {width}x{height}, more than this service allows; at most four times as "
            f"many pixels as a picture may have, {limits.max_pixels * 4}",
            field="script_args.scale",
            kind="too_large",
        )
    try:
        return tile_grid((width, height), job.rendered_size, script.overlap)
    except ValueError as error:
        raise ContractError(str(error), field="script_args.overlap") from None


def sd_upscale(script: SDUpscale, job: Job, grid: TileGrid, upscaler: Upscaler, generate: Generate) -> Result:
    """Enlarge the first init image, draw its tiles in batches with one seed, and put them together.

    Once for every n_iter of the job, each with the next seed; the batch size is how many tiles are drawn at
    a time.
    """
    source = source_of(job)
    enlarged = upscaler(source.images[0], grid.size)
    tiles = split(enlarged.resize(grid.size) if enlarged.size != grid.size else enlarged, grid)
    result = Result([])
    for number in range(len(job.batches)):
        first = job.pictures[0]
        picture = replace(first, seed=first.seed + number, subseed=first.subseed + number)
        drawn = []
        for start in range(0, len(tiles), job.batch_size):
            some = tiles[start : start + job.batch_size]
            made = generate(
                replace(
                    job.with_pictures([picture] * len(some)),
                    width=grid.tile[0],
                    height=grid.tile[1],
                    source=replace(source, images=tuple(some), resize_mode=0, mask=None, latent_mask=None),
                )
            )
            drawn += [shot.image for shot in made.shots]
            if len(made.shots) < len(some):  # interrupted
                return result
        result.shots.append(Shot(stitch(drawn, grid), picture, job, {"SD upscale overlap": grid.overlap}))
    return result
