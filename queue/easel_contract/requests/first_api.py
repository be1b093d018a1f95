"""The bodies of the extension's first API, which had generation calls of its own.

Units were a field `controlnet_units` of the body, and before that one unit was spread over fields that begin
with ``controlnet_``.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import JsonValue

from easel_contract.errors import ContractError
from easel_contract.requests.body import read_object

UNITS: Final = "controlnet_units"
PREFIX: Final = "controlnet_"
SCRIPT: Final = "controlnet"


def with_units(body: bytes) -> bytes:
    """The same request as the body of txt2img or img2img: its units in `alwayson_scripts`.

    Raises:
        ContractError: 422, it is no JSON object, or its units are no list, or in two places.
    """
    given = read_object(body)
    units = given.pop(UNITS, None)
    if units is not None and not isinstance(units, list):
        raise ContractError("is not a list", field=UNITS)
    spread = {name.removeprefix(PREFIX): given.pop(name) for name in list(given) if name.startswith(PREFIX)}
    found = [*(units or []), *_gathered(spread)]
    if not found:
        return json.dumps(given).encode()
    scripts: Any = given.get("alwayson_scripts") or {}
    if not isinstance(scripts, dict):
        raise ContractError("is not an object", field="alwayson_scripts")
    if any(name.strip().casefold() == SCRIPT and _has_units(value) for name, value in scripts.items()):
        raise ContractError(f"has units, and so has {UNITS}; send one of them", field="alwayson_scripts")
    others = {name: value for name, value in scripts.items() if name.strip().casefold() != SCRIPT}
    return json.dumps({**given, "alwayson_scripts": {**others, SCRIPT: {"args": found}}}).encode()


def _gathered(spread: dict[str, JsonValue]) -> list[JsonValue]:
    """A unit for each picture that the fields bring; without one they are a client's defaults."""
    pictures = _listed(spread.pop("image", None)) or _listed(spread.pop("input_image", None))
    masks = _listed(spread.pop("mask", None))
    return [
        {**spread, "image": picture, "mask": masks[number] if number < len(masks) else None}
        for number, picture in enumerate(pictures)
    ]


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value] if value else []


def _has_units(value: JsonValue) -> bool:
    return isinstance(value, dict) and bool(value.get("args"))
