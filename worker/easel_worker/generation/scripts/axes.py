"""The axes of the x/y/z plot: what may vary, and how its values are written.

Clients choose an axis by its index in A1111's list, which differs between txt2img and img2img, or by name.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from easel_contract.errors import ContractError

Fields = dict[str, Any]
"""A request as a dictionary; `override_settings` is one in it."""
Apply = Callable[[Fields, Any, Sequence[Any]], None]
"""(request, value, all values of the axis): changes the request."""
Kind = Literal["text", "int", "float", "bool", "order"]

MAX_VALUES = 100
"""Values of one axis; a range is counted before it is written out."""


@dataclass(frozen=True)
class Axis:
    """What one axis varies. only: it exists for this kind of request alone. apply None: A1111 has it, here it
    is refused, for the reason given."""

    label: str
    kind: Kind = "text"
    apply: Apply | None = None
    only: Literal["txt2img", "img2img"] | None = None
    refusal: str = ""


def _set(name: str) -> Apply:
    def apply(fields: Fields, value: Any, values: Sequence[Any]) -> None:
        fields[name] = value

    return apply


def _option(name: str) -> Apply:
    def apply(fields: Fields, value: Any, values: Sequence[Any]) -> None:
        fields["override_settings"] = {**fields["override_settings"], name: value}

    return apply


def _model(name: str) -> Apply:
    """An option that the cloud has a key of its own for, which would win over it."""

    def apply(fields: Fields, value: Any, values: Sequence[Any]) -> None:
        _option(name)(fields, value, values)
        fields["alwayson_scripts"] = {
            key: item for key, item in fields["alwayson_scripts"].items() if key != name
        }

    return apply


def _search_and_replace(fields: Fields, value: Any, values: Sequence[Any]) -> None:
    wanted = values[0]
    if not wanted or (wanted not in fields["prompt"] and wanted not in fields["negative_prompt"]):
        raise ContractError(f"Prompt S/R: {wanted[:60]!r} is in neither prompt", field="script_args")
    for name in ("prompt", "negative_prompt"):
        fields[name] = fields[name].replace(wanted, value)


def _order(fields: Fields, value: Any, values: Sequence[Any]) -> None:
    """The words of the axis in the order of `value`, in the places where the prompt has them."""
    found = sorted((fields["prompt"].find(word), word) for word in value)
    missing = [word for place, word in found if place < 0]
    if missing:
        raise ContractError(f"Prompt order: {missing[0][:60]!r} is not in the prompt", field="script_args")
    parts, rest = [], fields["prompt"]
    for _, word in found:
        before, rest = rest.split(word, 1)
        parts.append(before)
    fields["prompt"] = "".join(part + word for part, word in zip(parts, value, strict=True)) + rest


def _size(fields: Fields, value: Any, values: Sequence[Any]) -> None:
    sides = re.fullmatch(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*", str(value))
    if sides is None:
        raise ContractError(f"Size: {str(value)[:60]!r} is not WIDTHxHEIGHT", field="script_args")
    fields["width"], fields["height"] = int(sides[1]), int(sides[2])


def _styles(fields: Fields, value: Any, values: Sequence[Any]) -> None:
    fields["styles"] = [*fields["styles"], *(part.strip() for part in str(value).split(",") if part.strip())]


def _faces(fields: Fields, value: Any, values: Sequence[Any]) -> None:
    fields["restore_faces"] = str(value).strip().casefold() != "none"
    if fields["restore_faces"]:
        _option("face_restoration_model")(fields, value, values)


AXES: tuple[Axis, ...] = (
    Axis("Nothing", apply=lambda fields, value, values: None),
    Axis("Seed", "int", _set("seed")),
    Axis("Var. seed", "int", _set("subseed")),
    Axis("Var. strength", "float", _set("subseed_strength")),
    Axis("Steps", "int", _set("steps")),
    Axis("Hires steps", "int", _set("hr_second_pass_steps"), "txt2img"),
    Axis("CFG Scale", "float", _set("cfg_scale")),
    Axis("Image CFG Scale", "float", _set("image_cfg_scale"), "img2img"),
    Axis("Prompt S/R", "text", _search_and_replace),
    Axis("Prompt order", "order", _order),
    Axis("Sampler", "text", _set("sampler_name"), "txt2img"),
    Axis("Hires sampler", "text", _set("hr_sampler_name"), "txt2img"),
    Axis("Sampler", "text", _set("sampler_name"), "img2img"),
    Axis("Checkpoint name", "text", _model("sd_model_checkpoint")),
    Axis("Negative Guidance minimum sigma", "float", _set("s_min_uncond")),
    Axis("Sigma Churn", "float", _set("s_churn")),
    Axis("Sigma min", "float", _set("s_tmin")),
    Axis("Sigma max", "float", _set("s_tmax")),
    Axis("Sigma noise", "float", _set("s_noise")),
    Axis("Schedule type", "text", _set("scheduler")),
    Axis("Schedule min sigma", "float", _option("sigma_min")),
    Axis("Schedule max sigma", "float", _option("sigma_max")),
    Axis("Schedule rho", "float", _option("rho")),
    Axis("Beta schedule alpha", "float", _option("beta_dist_alpha")),
    Axis("Beta schedule beta", "float", _option("beta_dist_beta")),
    Axis("Eta", "float", _set("eta")),
    Axis("Clip skip", "int", _option("CLIP_stop_at_last_layers")),
    Axis("Denoising", "float", _set("denoising_strength")),
    Axis("Initial noise multiplier", "float", _option("initial_noise_multiplier")),
    Axis("Extra noise", "float", _option("img2img_extra_noise")),
    Axis("Hires upscaler", "text", _set("hr_upscaler"), "txt2img"),
    Axis("Cond. Image Mask Weight", "float", _option("inpainting_mask_weight"), "img2img"),
    Axis("VAE", "text", _model("sd_vae")),
    Axis("Styles", "text", _styles),
    Axis("UniPC Order", "int", _option("uni_pc_order")),
    Axis("Face restore", "text", _faces),
    Axis("Token merging ratio", "float", _option("token_merging_ratio")),
    Axis("Token merging ratio high-res", "float", _option("token_merging_ratio_hr")),
    Axis("Always discard next-to-last sigma", "bool", _option("always_discard_next_to_last_sigma")),
    Axis("SGM noise multiplier", "bool", _option("sgm_noise_multiplier")),
    Axis("Refiner checkpoint", "text", _set("refiner_checkpoint")),
    Axis("Refiner switch at", "float", _set("refiner_switch_at")),
    Axis("RNG source", "text", _option("randn_source")),
    Axis("FP8 mode", "text", None, refusal="weights are not kept in 8 bits here"),
    Axis("Size", "text", _size),
)
"""A1111 1.10's list, in its order."""


def axes_of(kind: str) -> list[Axis]:
    """The list that indices mean, for ``txt2img`` or ``img2img``."""
    return [axis for axis in AXES if axis.only in (None, kind)]


def find_axis(chosen: int | str, kind: str, field: str) -> Axis:
    """The axis of an index or a name.

    Raises:
        ContractError: 422, there is none, or it does nothing here.
    """
    known = axes_of(kind)
    if isinstance(chosen, int):
        found = known[chosen] if chosen < len(known) else None
    else:
        found = next((axis for axis in known if axis.label.casefold() == chosen.strip().casefold()), None)
    if found is None:
        names = ", ".join(f"{i} {axis.label}" for i, axis in enumerate(known))
        raise ContractError(f"no axis {chosen!r}; there are: {names}", field=field)
    if found.apply is None:
        raise ContractError(f"{found.label}: {found.refusal}", field=field)
    return found


@dataclass(frozen=True)
class AxisValues:
    """An axis and what it takes, in order; `Nothing` has one value that changes nothing."""

    axis: Axis
    values: tuple[Any, ...] = field(default=("",))

    def apply(self, fields: Fields, place: int) -> None:
        if self.axis.apply is not None:
            self.axis.apply(fields, self.values[place], self.values)

    def caption(self, place: int) -> str:
        if self.axis.label == "Nothing":
            return ""
        return f"{self.axis.label}: {self.shown(place)}"

    def shown(self, place: int) -> str:
        """A value as text."""
        value = self.values[place]
        return ", ".join(value) if isinstance(value, tuple) else str(value)


def read_axis(
    chosen: int | str, text: str, dropdown: Sequence[str] | str | None, *, kind: str, field: str
) -> AxisValues:
    """An axis with its values: comma separated, or those of the drop-down list where it is used.

    Numbers may be ranges: ``1-5``, ``1-10 (+3)`` by steps, ``1-10 [4]`` by count.

    Raises:
        ContractError: 422, an unknown axis, no values, too many, or one that is none.
    """
    axis = find_axis(chosen, kind, f"{field}_type")
    if axis.label == "Nothing":
        return AxisValues(axis)
    where = f"{field}_values"
    listed = [dropdown] if isinstance(dropdown, str) and dropdown else list(dropdown or ())
    words = [word.strip() for row in csv.reader(io.StringIO(text), skipinitialspace=True) for word in row]
    words = [word for word in words if word] or [str(word) for word in listed]
    values: list[Any] = []
    for word in words:
        values += _read(axis, word, where)
        if len(values) > MAX_VALUES:
            raise ContractError(f"more than {MAX_VALUES} values", field=where, kind="too_large")
    if axis.kind == "order":
        if len(values) > 5:
            raise ContractError(f"{len(values)} words have too many orders; at most 5", field=where)
        values = list(itertools.permutations(values))
    if not values:
        raise ContractError(f"{axis.label} has no values", field=where)
    return AxisValues(axis, tuple(values))


_RANGE = re.compile(
    r"\s*(?P<first>[+-]?\d+(?:\.\d*)?)\s*-\s*(?P<last>[+-]?\d+(?:\.\d*)?)"
    r"\s*(?:\(\s*(?P<step>[+-]?\d+(?:\.\d*)?)\s*\)|\[\s*(?P<count>\d+)\s*\])?\s*"
)


def _read(axis: Axis, word: str, field: str) -> list[Any]:
    if axis.kind in ("text", "order"):
        return [word]
    if axis.kind == "bool":
        if word.casefold() not in ("true", "false"):
            raise ContractError(f"{axis.label}: {word[:60]!r} is neither true nor false", field=field)
        return [word.casefold() == "true"]
    found = _RANGE.fullmatch(word)
    try:
        numbers = _range(found, field) if found else [_number(word, axis.kind)]
    except (ValueError, OverflowError):
        what = "a whole number" if axis.kind == "int" else "a number"
        raise ContractError(f"{axis.label}: {word[:60]!r} is not {what}", field=field) from None
    return [int(number) if axis.kind == "int" else number for number in numbers]


def _number(word: str, kind: Kind) -> float:
    number = int(word) if kind == "int" else float(word)
    if not math.isfinite(number):
        raise ValueError(word)
    return number


def _range(found: re.Match[str], field: str) -> list[float]:
    first, last = float(found["first"]), float(found["last"])
    if found["count"]:
        count = int(found["count"])
        step = (last - first) / max(count - 1, 1)
    else:
        step = float(found["step"] or 1)
        if step == 0 or (last - first) * step < 0:
            raise ContractError(f"the range {found[0].strip()!r} has no end", field=field)
        count = int(min((last - first) / step + 1e-9, MAX_VALUES)) + 1
    if count > MAX_VALUES:
        raise ContractError(f"more than {MAX_VALUES} values", field=field, kind="too_large")
    return [round(first + step * i, 6) for i in range(count)]
