"""From the picture that a unit looks at to the map that its network follows.

Preprocessors that need no torch run in the prefetch stage: `warm` asks for what the passes will ask for, and
each unit remembers its maps.
"""

from __future__ import annotations

from easel_worker.annotators import Annotators
from easel_worker.annotators.geometry import fit_hint, pixel_perfect_resolution
from easel_worker.generation.control.sources import Sight, sights
from easel_worker.generation.control.unit import Hint, Unit
from easel_worker.generation.hires import size_of
from easel_worker.generation.job import Job, Source
from easel_worker.imaging.resize import Size

DRAWS_LOTS = frozenset({"shuffle"})
"""Modules whose map depends on the seed."""
_SEEDS = 2**32


def hints_of(
    unit: Unit, annotators: Annotators, job: Job, source: Source | None, size: Size, seed: int
) -> tuple[Hint, ...]:
    """The maps of a unit for a pass of `size` in pixels: one for all pictures, or one for each of img2img's.

    The preprocessor works for the size of the first pass, and its map is fitted to that of each pass.

    Args:
        source: The job's, as the batch in work sees it.
        seed: Of modules that draw lots, 0 to 2**32 - 1.

    Raises:
        ContractError: the module cannot run, or made no map of the picture; names the unit's field.
    """
    return tuple(
        _hint(unit, annotators, sight, job.rendered_size, size, seed)
        for sight in sights(unit, source, job.rendered_size)
    )


def seed_of(job: Job, batch_seed: int | None = None) -> int:
    """The seed of modules that draw lots: seed + variation seed, modulo 2**32, as A1111 has it. A variation
    seed without strength, which nothing tells, counts as the seed.

    batch_seed: that of the batch in work, where each is to have its own.
    """
    first = job.pictures[0]
    seed = first.seed if batch_seed is None else batch_seed
    return (seed + (first.subseed if job.subseed_strength else seed)) % _SEEDS


def warm(job: Job, annotators: Annotators, *, cut_up: bool) -> None:
    """Make the maps that are known beforehand and need no torch, for the passes of a job.

    Args:
        cut_up: A script will give the job other init images and masks than its own.

    Raises:
        ContractError: as `hints_of`.
    """
    second = () if job.hires is None else (size_of(job, job.hires).final_size,)
    for unit in job.units:
        lent = job.source is not None and (not unit.images or job.source.mask is not None)
        if unit.kind.looks or annotators.needs_torch(unit.asked.module) or (cut_up and lent):
            continue
        passes = (job.rendered_size, *second)[unit.passes(len(second) + 1)]
        for size in passes:
            hints_of(unit, annotators, job, job.source, size, seed_of(job))


def _hint(unit: Unit, annotators: Annotators, sight: Sight, target: Size, size: Size, seed: int) -> Hint:
    asked = unit.asked
    drawn = (seed,) if asked.module in DRAWS_LOTS else ()
    key = (*sight.key, target, size, *drawn)
    if key in unit.known:
        return unit.known[key]
    resolution: float | None = asked.processor_res if asked.processor_res > 0 else None
    if asked.pixel_perfect:
        picture = sight.pixels.shape[1], sight.pixels.shape[0]
        resolution = pixel_perfect_resolution(picture, target, sight.mode)
    made = annotators.run(
        "none" if sight.drawn else asked.module,
        sight.pixels,
        mask=sight.mask,
        resolution=resolution,
        threshold_a=asked.threshold_a,
        threshold_b=asked.threshold_b,
        seed=seed,
        field=f"{asked.field}.module",
    )
    hint = Hint(key, fit_hint(made.map, sight.mode, *size))
    unit.known[key] = hint
    return hint
