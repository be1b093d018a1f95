"""From what a client sends as ControlNet units to units with one spelling of everything."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from easel_contract.controlnet.combining import HiresPasses, Init, UnusableError, check_unit
from easel_contract.controlnet.idle import idle_fields, without
from easel_contract.controlnet.modules import MODULES, Module, find_module
from easel_contract.controlnet.pictures import read_pictures
from easel_contract.controlnet.settling import settle_sliders
from easel_contract.controlnet.spellings import ignored, plain
from easel_contract.controlnet.unit import UNITS, ControlUnit, UnitPicture
from easel_contract.errors import ContractError
from easel_contract.validation import from_validation

NO_MODEL = "none"
"""How clients say that they name no model, in lower case."""

MAX_SHOWN = 100
"""Characters of a name that a message repeats."""

_TRUTH: TypeAdapter[bool] = TypeAdapter(bool)
_READ_HERE = frozenset({"index", "module", "model", "image", "mask", "pictures", "warnings"})


@dataclass(frozen=True)
class Units:
    """The enabled units of a request, and what is done otherwise than asked."""

    units: tuple[ControlUnit, ...] = ()
    warnings: tuple[str, ...] = ()


def read_units(
    args: Sequence[JsonValue],
    *,
    limit: int,
    strict: bool,
    init: Init | None = None,
    hires: HiresPasses | None = None,
) -> Units:
    """Read and check units. Those that are switched off are left out, whatever else they say.

    Args:
        args: The script's arguments: an object for each unit; null, false and ``{}`` are none.
        limit: Most enabled units.
        strict: Refuse what this service does not know or cannot do. Otherwise a unit is used as far as it can
            be, or left out, and `warnings` tell so. A value of the wrong kind is refused in both cases.
        init: What the request has that stands in for a unit's picture and mask; None for txt2img.
        hires: What its passes do; None without a second one, which makes `hr_option` mean nothing.

    Raises:
        ContractError: 422, naming the unit and the field.
    """
    units: list[ControlUnit] = []
    warnings: list[str] = []
    for index, sent in enumerate(args):
        field = f"{UNITS}[{index}]"
        if not sent:
            continue
        if not isinstance(sent, dict):
            raise ContractError("is not an object with the unit's fields", field=field)
        if not _enabled(sent, field):
            continue
        try:
            unit = _read_unit(index, plain(sent, field=field), field, strict=strict)
            check_unit(unit, MODULES[unit.module], init, hires)
            unit = _without_idle(unit, strict=strict)
        except UnusableError as error:
            if strict:
                raise
            warnings.append(f"{error.field}: {error.message}; the unit is left out")
        else:
            units.append(unit)
            warnings += unit.warnings
    if len(units) > limit:
        told = f"{len(units)} units are enabled; at most {limit} (EASEL_CONTROLNET_UNITS)"
        if strict:
            raise ContractError(told, field=UNITS, kind="too_large")
        warnings.append(f"{UNITS}: {told}; the first {limit} are used")
    return Units(tuple(units[:limit]), tuple(warnings))


def _enabled(sent: Mapping[str, JsonValue], field: str) -> bool:
    # Clients from the time when it was the default leave it out.
    given = sent.get("enabled")
    try:
        return True if given is None or given == "" else _TRUTH.validate_python(given)
    except ValidationError:
        raise ContractError("is neither true nor false", field=f"{field}.enabled") from None


def _read_unit(index: int, said: dict[str, JsonValue], field: str, *, strict: bool) -> ControlUnit:
    warnings = ignored(said, field=field)
    module = _module(said.get("module"), field)
    model = _model(said.get("model"), field)
    if module.model_free and model is not None:
        warnings.append(
            f"{field}.model: {module.name!r} uses none, so that {model[:MAX_SHOWN]!r} does nothing"
        )
        model = None
    pictures, mask = _pictures(said, field)
    values: dict[str, Any] = {
        name: value
        for name, value in said.items()
        if name in ControlUnit.model_fields and name not in _READ_HERE
    }
    if isinstance(values.get("ipadapter_input"), str):
        values["ipadapter_input"] = [values["ipadapter_input"]]
    values |= settle_sliders(module, values, field=field, strict=strict, warnings=warnings)
    values |= {"index": index, "module": module.name, "model": model, "pictures": pictures, "mask": mask}
    try:
        return ControlUnit.model_validate({**values, "warnings": tuple(warnings)})
    except ValidationError as error:
        raise from_validation(error, f"{field}.") from None


def _without_idle(unit: ControlUnit, *, strict: bool) -> ControlUnit:
    """The unit without what its module does not look at."""
    idle = idle_fields(unit, MODULES[unit.module])
    if not idle:
        return unit
    if strict:
        name, why = next(iter(idle.items()))
        raise ContractError(why, field=f"{unit.field}.{name}")
    told = tuple(f"{unit.field}.{name}: {why}; it is not looked at" for name, why in idle.items())
    return without(unit.model_copy(update={"warnings": (*unit.warnings, *told)}), set(idle))


def _module(given: JsonValue, field: str) -> Module:
    name = "" if given is None else given
    if not isinstance(name, str):
        raise ContractError("is not a text", field=f"{field}.module")
    found = find_module(name)
    if found is not None:
        return found
    close = difflib.get_close_matches(name[:MAX_SHOWN], MODULES, n=3)
    hint = f" Is it {' or '.join(close)}?" if close else " GET /controlnet/module_list has their names."
    raise UnusableError(
        f"module({name[:MAX_SHOWN]}) not found in supported modules.{hint}", field=f"{field}.module"
    )


def _model(given: JsonValue, field: str) -> str | None:
    if given is not None and not isinstance(given, str):
        raise ContractError("is not a text", field=f"{field}.model")
    return None if given is None or given.strip().casefold() in ("", NO_MODEL) else given.strip()


def _pictures(said: Mapping[str, JsonValue], field: str) -> tuple[tuple[UnitPicture, ...], str | None]:
    """The unit's pictures, and its mask."""
    pictures = read_pictures(said.get("image"), field=field)
    link = said.get("image_link")
    if link is not None:
        if not isinstance(link, str):
            raise ContractError("is not a text", field=f"{field}.image_link")
        if pictures:
            raise ContractError("is given beside image; send one of them", field=f"{field}.image_link")
        pictures = (UnitPicture(image=link, image_field="image_link"),)
    mask = said.get("mask")
    if mask is None:
        return pictures, pictures[0].mask if len(pictures) == 1 else None
    if not isinstance(mask, str):
        raise ContractError("is not a text", field=f"{field}.mask")
    if len(pictures) > 1:
        raise ContractError(
            'is for one picture; give each its own: [{"image": …, "mask": …}, …]', field=f"{field}.mask"
        )
    if any(picture.mask for picture in pictures):
        raise ContractError("is given twice, also with the image", field=f"{field}.mask")
    return tuple(picture.model_copy(update={"mask": mask}) for picture in pictures), mask
