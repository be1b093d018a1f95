"""Every option there is: its section, default and type, and whether it does something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from easel_contract.options.answering import (
    InfotextOptions,
    InterrogateOptions,
    PreviewOptions,
    SavingOptions,
)
from easel_contract.options.base import words
from easel_contract.options.kept import KEPT, MISSING, OPERATOR
from easel_contract.options.rendering import (
    ControlOptions,
    HiresOptions,
    Img2ImgOptions,
    MergingOptions,
    ModelOptions,
    NoiseOptions,
    PictureOptions,
    SamplerOptions,
    TextOptions,
    UpscalerOptions,
)

SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "model": ModelOptions,
    "text": TextOptions,
    "noise": NoiseOptions,
    "sampler": SamplerOptions,
    "token merging": MergingOptions,
    "img2img": Img2ImgOptions,
    "hires": HiresOptions,
    "faces, tiling": PictureOptions,
    "upscaling": UpscalerOptions,
    "ControlNet": ControlOptions,
    "saving": SavingOptions,
    "infotext": InfotextOptions,
    "preview": PreviewOptions,
    "interrogate": InterrogateOptions,
}
"""Section -> the options in it that do something."""

COMPUTED: Final = "sd_checkpoint_hash"
"""Answered, never stored: the hash of `sd_model_checkpoint`'s weights."""


class Effect(Enum):
    """What an option does."""

    USED = "used"
    """Tasks and answers follow it."""
    KEPT = "kept"
    """Stored and answered; nothing follows it."""
    MISSING = "missing"
    """Takes its default only: Easel does not have what it switches on."""
    OPERATOR = "operator"
    """Answered as the operator's settings have it; a request cannot change it."""
    COMPUTED = "computed"
    """Answered; what is posted is ignored."""


@dataclass(frozen=True)
class Option:
    """One option. `default` is JSON; `values` are the fixed words it takes, empty where it takes any."""

    key: str
    section: str
    default: Any
    effect: Effect
    description: str = ""
    values: tuple[str, ...] = ()


def _used(section: str, key: str, field: FieldInfo) -> Option:
    return Option(
        key,
        section,
        as_json(field.default),
        Effect.USED,
        field.description or "",
        words(field.annotation),
    )


def as_json(value: Any) -> Any:
    """A default or a validated value as JSON has it: tuples are lists."""
    return list(value) if isinstance(value, tuple) else value


def _all() -> dict[str, Option]:
    options = [
        _used(section, key, field)
        for section, model in SECTIONS.items()
        for key, field in model.model_fields.items()
    ]
    options += [
        Option(key, "API", default, Effect.OPERATOR, description)
        for key, (default, description) in OPERATOR.items()
    ]
    options += [Option(key, "missing", default, Effect.MISSING) for key, default in MISSING.items()]
    options += [
        Option(key, section, as_json(default), Effect.KEPT)
        for section, keys in KEPT.items()
        for key, default in keys.items()
    ]
    options.append(
        Option(COMPUTED, "model", "", Effect.COMPUTED, "SHA-256 of the checkpoint's UNet, where it is known.")
    )
    return {option.key: option for option in options}


OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(_all())
"""Key -> option."""


def defaults() -> dict[str, Any]:
    """Key -> default of all options, as JSON. The caller's own."""
    return {key: as_json(option.default) for key, option in OPTIONS.items()}
