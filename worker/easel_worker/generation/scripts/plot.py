"""X/Y/Z plot: a picture for every combination of the values of up to three axes, and a grid of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from pydantic import ValidationError

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, check_limits, from_validation
from easel_contract.requests.scripts import XYZPlot
from easel_worker.generation.job import Job
from easel_worker.generation.result import Generate, Result
from easel_worker.generation.scripts.axes import AxisValues, Fields, read_axis
from easel_worker.generation.scripts.grids import lay_out
from easel_worker.imaging.captions import Caption, annotate
from easel_worker.seeds import resolve_seeds


@dataclass(frozen=True)
class Plot:
    """The axes of one plot, and the request of each cell: along x, then y, then z."""

    x: AxisValues
    y: AxisValues
    z: AxisValues
    requests: tuple[GenerationRequest, ...]


def plot_of(script: XYZPlot, request: GenerationRequest, limits: Limits) -> Plot:
    """The requests of all cells.

    Without `no_fixed_seeds` a random seed is drawn once, so that cells can be compared. `vary_seeds_x` and
    its fellows give each value of that axis a seed of its own.

    Raises:
        ContractError: 422, names the axis and what is wrong with it.
    """
    kind = "img2img" if request.img2img else "txt2img"
    x, y, z = (
        read_axis(
            getattr(script, f"{name}_type"),
            getattr(script, f"{name}_values"),
            getattr(script, f"{name}_values_dropdown"),
            kind=kind,
            field=f"script_args.{name}",
        )
        for name in "xyz"
    )
    count = len(x.values) * len(y.values) * len(z.values) * request.images
    if count > limits.max_script_images:
        raise ContractError(
            f"the plot has {count} pictures, more than this service allows; at most "
            f"{limits.max_script_images}",
            field="script_args",
            kind="too_large",
        )
    plain: Fields = {**request.model_dump(), "script_name": None, "script_args": []}
    if not script.no_fixed_seeds:
        plain["seed"], plain["subseed"] = (
            resolve_seeds(seed, 1)[0] for seed in (request.seed, request.subseed)
        )
    requests = []
    across = len(x.values) if script.vary_seeds_x else 1
    deep = len(y.values) if script.vary_seeds_y else 1
    for iz in range(len(z.values)):
        for iy in range(len(y.values)):
            for ix in range(len(x.values)):
                fields = dict(plain)
                for axis, place in ((x, ix), (y, iy), (z, iz)):
                    axis.apply(fields, place)
                if fields["seed"] != -1:
                    fields["seed"] += (
                        ix * script.vary_seeds_x
                        + iy * across * script.vary_seeds_y
                        + iz * across * deep * script.vary_seeds_z
                    )
                requests.append(_checked(request, fields, limits))
    return Plot(x, y, z, tuple(requests))


def _checked(request: GenerationRequest, fields: Fields, limits: Limits) -> GenerationRequest:
    try:
        made = type(request).model_validate(fields)
    except ValidationError as error:
        raise ContractError(str(from_validation(error)), field="script_args") from None
    made._strict = request.strict
    check_limits(made, limits)
    return made


def xyz_plot(script: XYZPlot, jobs: Sequence[Job], plot: Plot, generate: Generate) -> Result:
    """Render every cell; its first picture stands in the grid."""
    result = Result([])
    cells: list[Image.Image] = []
    for job in jobs:
        made = generate(job)
        result.shots += made.shots
        if len(made.shots) < len(job.pictures):  # interrupted
            break
        cells.append(made.shots[0].image)
    if len(cells) == len(jobs):
        result.grids = _grids(script, plot, cells)
        result.show_shots = script.include_lone_images
    return result


def _grids(script: XYZPlot, plot: Plot, cells: Sequence[Image.Image]) -> list[Image.Image]:
    """One grid of all; with several values of z, that of each beside it, if the script wants those too."""
    columns, rows, layers = len(plot.x.values), len(plot.y.values), len(plot.z.values)
    size = columns * rows
    grids = []
    for layer in range(layers):
        grid, cell = lay_out(cells[layer * size : (layer + 1) * size], columns=columns)
        if script.draw_legend:
            grid = annotate(grid, cell, _captions(plot.x), _captions(plot.y), script.margin)
        grids.append(grid)
    if layers == 1:
        return grids
    whole, cell = lay_out(grids, columns=layers)
    if script.draw_legend:
        whole = annotate(whole, cell, _captions(plot.z), [[]], script.margin)
    return [whole, *(grids if script.include_sub_grids else [])]


def _captions(axis: AxisValues) -> list[list[Caption]]:
    return [[Caption(text)] if (text := axis.caption(place)) else [] for place in range(len(axis.values))]
