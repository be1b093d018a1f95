"""The numbers that a unit sends for a preprocessor's sliders, and those that are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from easel_contract.controlnet.module import Module
from easel_contract.controlnet.sliders import Slider
from easel_contract.errors import ContractError

UNSET = -1
"""What a slider is that a module does not have, and how clients ask for the default."""

_WHOLE: TypeAdapter[int] = TypeAdapter(int)
_NUMBER: TypeAdapter[float] = TypeAdapter(Annotated[float, Field(allow_inf_nan=False)])


def settle_sliders(
    module: Module,
    given: Mapping[str, Any],
    *,
    field: str,
    strict: bool,
    warnings: list[str],
    prefix: str = "",
) -> dict[str, float]:
    """`processor_res`, `threshold_a` and `threshold_b` as they are used.

    A value below 0 (a resolution of 0, too) is the module's default. What a module has no slider for is -1,
    whatever is sent: clients send all three with every module.

    Args:
        given: What was sent, by these names with `prefix` before them.
        strict: Refuse a value that is out of range. Otherwise the nearest is used, which `warnings` are told.

    Raises:
        ContractError: 422, it is no number, or out of range.
    """
    found: dict[str, float] = {}
    for name, slider, kind in (
        ("processor_res", module.resolution, _WHOLE),
        ("threshold_a", module.a, _NUMBER),
        ("threshold_b", module.b, _NUMBER),
    ):
        where = f"{field}.{prefix}{name}" if field else prefix + name
        value = _number(given.get(prefix + name, UNSET), kind, where)
        if slider is None:
            found[prefix + name] = UNSET
            continue
        if kind is _WHOLE and value == 0:
            value = UNSET
        settled = slider.settle(value)
        if settled is None:
            told = f"{value:g} is out of the range of {slider.name!r}: {_range(slider)}"
            if strict:
                raise ContractError(
                    f"{told}; -1 is the default of {module.name!r}, {slider.default:g}", field=where
                )
            settled = slider.clamp(value)
            warnings.append(f"{where}: {told}; {settled:g} is used")
        found[prefix + name] = int(settled) if kind is _WHOLE else float(settled)
    return found


def _number(value: Any, kind: TypeAdapter[int] | TypeAdapter[float], where: str) -> float:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise ContractError(error.errors(include_input=False)[0]["msg"], field=where) from None


def _range(slider: Slider) -> str:
    return f"{slider.minimum:g} to {slider.maximum:g}"
