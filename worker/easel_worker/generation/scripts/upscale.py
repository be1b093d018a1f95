"""SD upscale: the init image enlarged, then drawn anew tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from easel_contract.errors import ContractError
from easel_contract.limits import MIN_SIDE, Limits
from easel_contract.requests.scripts import SDUpscale
from easel_contract.upscalers import NONE
from easel_worker.generation.job import Job
from easel_worker.generation.result import Generate, Result, Shot
from easel_worker.generation.scripts.limits import check_count
from easel_worker.generation.scripts.sources import source_of
from easel_worker.imaging.resize import Upscaler, scale_to
from easel_worker.imaging.tiles import TileGrid, split, stitch, tile_grid


def grid_of(script: SDUpscale, job: Job, limits: Limits) -> TileGrid:
    """The tiles of the enlarged picture, of the job's size. The upscaler None enlarges nothing.

    Raises:
        ContractError: 422, the enlarged picture is larger than the operator allows, the overlap is not less
            than a tile, or there would be too many tiles.
    """
    scale = 1.0 if script.upscaler_name.casefold() == NONE.casefold() else script.scale
    width, height = (int(side * scale) // 8 * 8 for side in source_of(job).images[0].size)
    if min(width, height) < MIN_SIDE:
        raise ContractError(
            f"the picture would be {width}x{height}; at least {MIN_SIDE} to a side", field="script_args.scale"
        )
    if max(width, height) > limits.max_side * 4 or width * height > limits.max_pixels * 4:
        raise ContractError(
            f"the picture would be {width}x{height}, more than this service allows; at most four times as "
            f"many pixels as a picture may have, {limits.max_pixels * 4}",
            field="script_args.scale",
            kind="too_large",
        )
    try:
        grid = tile_grid((width, height), job.rendered_size, script.overlap)
    except ValueError as error:
        raise ContractError(str(error), field="script_args.overlap") from None
    check_count(grid.count * len(job.batches), limits, "tiles")
    return grid


def sd_upscale(script: SDUpscale, job: Job, grid: TileGrid, upscaler: Upscaler, generate: Generate) -> Result:
    """Enlarge the first init image, draw its tiles in batches, and put them together.

    Once for every n_iter of the job, each beginning with the next seed; the batch size is how many tiles are
    drawn at a time. Each batch of tiles begins with the next seed, and so does each tile in it, as in A1111.
    Interrupted, what is not drawn yet is only enlarged.
    """
    source = source_of(job)
    enlarged = scale_to(upscaler(source.images[0], grid.size), grid.size)
    tiles = split(enlarged, grid)
    first = job.pictures[0]
    told = {
        "SD upscale overlap": grid.overlap,
        "SD upscale upscaler": script.upscaler_name,
        "Script": "SD upscale",
    }
    result = Result([])
    for number in range(len(job.batches)):
        drawn = list(tiles)
        facts: Mapping[str, object] = {}
        whole = True
        for place, start in enumerate(range(0, len(tiles), job.batch_size)):
            some = tiles[start : start + job.batch_size]
            made = generate(
                replace(
                    job.with_pictures(
                        replace(first, seed=first.seed + on, subseed=first.subseed + on)
                        for on in range(number + place, number + place + len(some))
                    ),
                    width=grid.tile[0],
                    height=grid.tile[1],
                    source=replace(source, images=tuple(some), resize_mode=0, mask=None, latent_mask=None),
                )
            )
            drawn[start : start + len(made.shots)] = [shot.image for shot in made.shots]
            result.show(made.maps)
            facts = made.shots[0].facts
            whole = whole and all(shot.whole for shot in made.shots)
            if made.interrupted:
                result.interrupted = True
                break
        picture = replace(first, seed=first.seed + number, subseed=first.subseed + number)
        result.shots.append(Shot(stitch(drawn, grid), picture, job, {**facts, **told}, whole=whole))
        if result.interrupted:
            break
    return result
