"""X/Y/Z plot: a picture for every combination of the values of up to three axes, and a grid of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image
from pydantic import ValidationError

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, check_request, from_validation
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

    Without `no_fixed_seeds` random seeds are drawn once, so that cells can be compared. `vary_seeds_x` and
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
    if not script.no_fixed_seeds:
        x, y, z = (_with_seeds(axis) for axis in (x, y, z))
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


def _with_seeds(axis: AxisValues) -> AxisValues:
    """The axis with a seed drawn for each -1, so that all cells of that value have the same."""
    if axis.axis.label not in ("Seed", "Var. seed"):
        return axis
    return replace(axis, values=tuple(resolve_seeds(value, 1)[0] for value in axis.values))


def _checked(request: GenerationRequest, fields: Fields, limits: Limits) -> GenerationRequest:
    try:
        made = type(request).model_validate(fields)
    except ValidationError as error:
        raise ContractError(str(from_validation(error)), field="script_args") from None
    made.obey(limits)
    check_request(made, limits)
    return made


def xyz_plot(script: XYZPlot, jobs: Sequence[Job], plot: Plot, generate: Generate) -> Result:
    """Render every cell; its first picture stands in the grid."""
    result = Result([], facts=_told(plot))
    cells: list[Image.Image] = []
    for job in jobs:
        made = generate(job)
        result.shots += made.shots
        result.show(made.maps)
        cells.append(made.shots[0].image)
        if made.interrupted:
            result.interrupted = True
            return result
    result.grids = _grids(script, plot, cells)
    result.show_shots = script.include_lone_images
    return result


def _told(plot: Plot) -> dict[str, object]:
    """What the grids' infotexts tell of the axes."""
    told: dict[str, object] = {"Script": "X/Y/Z plot"}
    for name, axis in zip("XYZ", (plot.x, plot.y, plot.z), strict=True):
        if axis.axis.label != "Nothing":
            values = ", ".join(axis.shown(place) for place in range(len(axis.values)))
            told |= {f"{name} Type": axis.axis.label, f"{name} Values": values}
    return told


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
