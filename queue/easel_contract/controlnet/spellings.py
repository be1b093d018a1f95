"""A unit's older names and ways to say nothing, and the fields of A1111's pages that mean nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import JsonValue

from easel_contract.errors import ContractError

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "input_image": "image",
        "mask_image": "mask",
        "lowvram": "low_vram",
        "guidance": "guidance_end",
        "guess_mode": "guessmode",
    }
)
"""Older name -> today's."""

IDLE: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "guessmode": (False, 0),
        "input_mode": ("simple", 0),
        "batch_images": ([],),
        "batch_mask_dir": (),
        "output_dir": (),
        "loopback": (False,),
        "batch_modifiers": ([],),
        "batch_image_files": ([],),
        "batch_keyframe_idx": (),
        "animatediff_batch": (False,),
    }
)
"""Fields that are taken and do nothing, with the values (beside null and empty text) that ask for nothing."""

NO_WINDOW: Final = 1.0
"""The end of guidance that says nothing: clients send it under both names."""


def plain(sent: Mapping[str, JsonValue], *, field: str) -> dict[str, JsonValue]:
    """A unit's fields by today's names, without those that say nothing (null, empty text).

    Raises:
        ContractError: 422, something is given under two names, and they differ; a mask, even if they do not.
    """
    said: dict[str, JsonValue] = {
        name: value for name, value in sent.items() if value is not None and value != ""
    }
    found: dict[str, JsonValue] = {name: value for name, value in said.items() if name not in ALIASES}
    for old, name in ALIASES.items():
        if old not in said:
            continue
        value, other = said[old], found.get(name)
        if name == "guidance_end" and other is not None and NO_WINDOW in (value, other):
            value = other if value == NO_WINDOW else value
        elif other is not None and (other != value or name == "mask"):
            raise ContractError(f"is given twice, also as {old}", field=f"{field}.{name}")
        found[name] = value
    return found


def ignored(said: Mapping[str, JsonValue], *, field: str) -> list[str]:
    """What is to be told about fields that do nothing and yet ask for something."""
    return [
        f"{field}.{name}: does nothing here; {_INSTEAD.get(name, 'send every picture in a unit of its own')}"
        for name, idle in IDLE.items()
        if name in said and said[name] not in idle
    ]


_INSTEAD: Final = {
    "guessmode": "control_mode 2 is what it became",
    "loopback": "send the picture again as the next request's",
    "output_dir": "save_dir says where pictures are stored",
}
