"""From what a client sends as ControlNet units to units with one spelling of everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from easel_contract.controlnet.unit import ControlUnit


@dataclass(frozen=True)
class Units:
    """The enabled units of a request, and what is done otherwise than asked."""

    units: tuple[ControlUnit, ...] = ()
    warnings: tuple[str, ...] = ()


def read_units(
    args: Sequence[JsonValue], *, limit: int, strict: bool, picture: bool = True, mask: bool = True
) -> Units:
    """Read and check units. Those that are switched off are left out, whatever else they say.

    Args:
        args: The script's arguments: an object for each unit; null and ``{}`` are none.
        limit: Most enabled units.
        strict: Refuse what this service does not know or cannot do. Otherwise a unit is used as far as it can
            be, or left out, and `warnings` tell so. A value of the wrong kind is refused in both cases.
        picture, mask: Whether the request has one (img2img) that stands in for a unit's.

    Raises:
        ContractError: 422, naming the unit and the field.
    """
    raise NotImplementedError
