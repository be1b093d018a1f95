"""`script_name` and `script_args`: the scripts that make several generations of one request.

Arguments come by position, as A1111's pages send them; extra ones are dropped, missing ones have their
defaults.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, PlainValidator

from easel_contract.errors import ContractError
from easel_contract.requests.alwayson import ScriptArgs, read_args
from easel_contract.upscalers import BUILT_IN

Direction = Literal["left", "right", "up", "down"]
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "up", "down")


def _folded(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [part for part in re.split(r"[,\s]+", value) if part] if isinstance(value, str) else value


def _axis(value: Any) -> Any:
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 4 else value
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(1000):
        raise ValueError("is neither the index of an axis nor its name")
    return int(value)


AxisType = Annotated[int | str, PlainValidator(_axis)]
"""An index into the list of axes, or an axis's name."""

Directions = Annotated[tuple[Direction, ...], BeforeValidator(_listed)]


class SDUpscale(ScriptArgs):
    """`SD upscale`: enlarge, then img2img tile by tile. `upscaler` is a name, or an index into the list."""

    info: JsonValue = None
    overlap: int = Field(64, ge=0, le=1024)
    upscaler: int | str = "None"
    scale: float = Field(2.0, gt=0, le=8)

    @property
    def upscaler_name(self) -> str:
        """A name; an index means the built-in ones, which begin the list, and nothing behind them."""
        if isinstance(self.upscaler, str):
            return self.upscaler
        return BUILT_IN[self.upscaler] if 0 <= self.upscaler < len(BUILT_IN) else f"number {self.upscaler}"


class OutpaintingMk2(ScriptArgs):
    """`Outpainting mk2`: grow the picture by `pixels` on each side named, from noise that looks like it."""

    info: JsonValue = None
    pixels: int = Field(128, ge=8, le=1024)
    mask_blur: int = Field(8, ge=0, le=64)
    directions: Directions = DIRECTIONS
    noise_q: float = Field(1.0, ge=0, le=4)
    color_variation: float = Field(0.05, ge=0, le=1)


class PoorMansOutpainting(ScriptArgs):
    """`Poor man's outpainting`: grow the picture, with a masked content of img2img in what is new."""

    pixels: int = Field(128, ge=8, le=1024)
    mask_blur: int = Field(4, ge=0, le=64)
    inpainting_fill: int = Field(0, ge=0, le=3)
    directions: Directions = DIRECTIONS


class Loopback(ScriptArgs):
    """`Loopback`: each result is the next one's init image."""

    loops: int = Field(4, ge=1, le=64)
    final_denoising_strength: float = Field(0.5, ge=0, le=1)
    curve: Annotated[Literal["aggressive", "linear", "lazy"], BeforeValidator(_folded)] = "linear"
    append_interrogation: Annotated[Literal["none", "clip", "deepbooru"], BeforeValidator(_folded)] = "none"


class PromptMatrix(ScriptArgs):
    """`Prompt matrix`: a picture for every combination of the parts that ``|`` separates."""

    put_at_start: bool = False
    different_seeds: bool = False
    prompt_type: Annotated[Literal["positive", "negative"], BeforeValidator(_folded)] = "positive"
    separator: Annotated[Literal["comma", "space"], BeforeValidator(_folded)] = "comma"
    margin: int = Field(0, ge=0, le=500)


class PromptsFromFile(ScriptArgs):
    """`Prompts from file or textbox`: a generation for each line."""

    iterate_seed: bool = False
    same_seed: bool = False
    position: Annotated[Literal["start", "end"], BeforeValidator(_folded)] = "start"
    text: str = ""


class XYZPlot(ScriptArgs):
    """`X/Y/Z plot`: a picture for every combination of the values of up to three axes."""

    x_type: AxisType = 0
    x_values: str = ""
    x_values_dropdown: list[str] | str | None = None
    y_type: AxisType = 0
    y_values: str = ""
    y_values_dropdown: list[str] | str | None = None
    z_type: AxisType = 0
    z_values: str = ""
    z_values_dropdown: list[str] | str | None = None
    draw_legend: bool = True
    include_lone_images: bool = False
    include_sub_grids: bool = False
    no_fixed_seeds: bool = False
    vary_seeds_x: bool = False
    vary_seeds_y: bool = False
    vary_seeds_z: bool = False
    margin: int = Field(0, ge=0, le=500)
    csv_mode: bool = False


Script = (
    SDUpscale | OutpaintingMk2 | PoorMansOutpainting | Loopback | PromptMatrix | PromptsFromFile | XYZPlot
)

BOTH: dict[str, type[Script]] = {
    "prompt matrix": PromptMatrix,
    "prompts from file or textbox": PromptsFromFile,
    "x/y/z plot": XYZPlot,
}
"""Scripts for txt2img and img2img, by title in lower case, in A1111's order."""

IMG2IMG_ONLY: dict[str, type[Script]] = {
    "loopback": Loopback,
    "outpainting mk2": OutpaintingMk2,
    "poor man's outpainting": PoorMansOutpainting,
    "sd upscale": SDUpscale,
}
"""Scripts that need an init image."""

SELECTABLE = frozenset({*BOTH, *IMG2IMG_ONLY})

SEVERAL = (PromptsFromFile, XYZPlot)
"""Scripts that make other requests of the client's: each is checked by itself, and only they are rendered."""

UNMASKED = (SDUpscale, OutpaintingMk2, PoorMansOutpainting)
"""Scripts of img2img that begin with the first picture alone, and paint by no mask but their own."""


def read_script(name: str | None, args: list[JsonValue], *, img2img: bool) -> Script | None:
    """The script that a request names, with its arguments; None where it names none.

    Raises:
        ContractError: 422 for an unknown script, one that needs an init image, or a wrong argument.
    """
    title = (name or "").strip().casefold()
    if title in ("", "none"):
        return None
    model = BOTH.get(title) or (IMG2IMG_ONLY.get(title) if img2img else None)
    if model is None:
        where = " for txt2img: it needs an init image" if title in IMG2IMG_ONLY else ""
        raise ContractError(f"Script '{name}' not found{where}", field="script_name")
    return read_args(model, args, "script_args")
