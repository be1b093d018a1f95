"""What ``/sdapi/v1/scripts`` and ``script-info`` tell, from the scripts' own argument models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from easel_contract.options.base import words
from easel_contract.requests.alwayson import (
    INERT,
    RefinerArgs,
    SamplerArgs,
    ScriptArgs,
    SeedArgs,
    SoftInpainting,
)
from easel_contract.requests.scripts import BOTH, IMG2IMG_ONLY

ALWAYS_ON: dict[str, type[ScriptArgs]] = {
    "refiner": RefinerArgs,
    "sampler": SamplerArgs,
    "seed": SeedArgs,
    **dict.fromkeys(sorted(INERT), ScriptArgs),
}
"""Title -> arguments of the scripts that take part in every generation, or might."""

ALWAYS_ON_IMG2IMG: dict[str, type[ScriptArgs]] = {"soft inpainting": SoftInpainting}

CONTROLNET = "controlnet"
CONTROLNET_M2M = "controlnet m2m"
"""Clients take ControlNet for missing unless both are listed; their units are objects, not arguments."""


class ScriptArg(BaseModel):
    """One argument; what is null does not apply."""

    label: str
    value: Any
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: list[str] | None = None


class ScriptInfo(BaseModel):
    """One script. `args` come in the order in which a request sends them."""

    model_config = ConfigDict(frozen=True)

    name: str
    is_alwayson: bool
    is_img2img: bool
    args: list[ScriptArg]


def script_titles(*, img2img: bool) -> list[str]:
    """Titles in lower case, the selectable scripts first, as A1111 lists them."""
    return [info.name for info in script_infos(()) if info.is_img2img == img2img]


def script_infos(upscalers: Sequence[str]) -> list[ScriptInfo]:
    """Every script for txt2img, then every one for img2img. `upscalers` are the choices of SD upscale."""
    return list(_script_infos(tuple(upscalers)))


@lru_cache(maxsize=8)
def _script_infos(upscalers: tuple[str, ...]) -> tuple[ScriptInfo, ...]:
    infos: list[ScriptInfo] = []
    for img2img in (False, True):
        selectable: dict[str, type[ScriptArgs]] = {**BOTH, **(IMG2IMG_ONLY if img2img else {})}
        always = {**ALWAYS_ON, **(ALWAYS_ON_IMG2IMG if img2img else {})}
        for scripts, alwayson in ((selectable, False), (always, True)):
            infos += [
                ScriptInfo(name=title, is_alwayson=alwayson, is_img2img=img2img, args=_args(model, upscalers))
                for title, model in scripts.items()
            ]
            title = CONTROLNET if alwayson else CONTROLNET_M2M
            infos.append(ScriptInfo(name=title, is_alwayson=alwayson, is_img2img=img2img, args=[]))
    return tuple(infos)


def _args(model: type[ScriptArgs], upscalers: tuple[str, ...]) -> list[ScriptArg]:
    return [_arg(name, field, upscalers) for name, field in model.model_fields.items()]


def _arg(name: str, field: FieldInfo, upscalers: tuple[str, ...]) -> ScriptArg:
    low = high = None
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge | annotated_types.Gt):
            low = _number(rule.ge if isinstance(rule, annotated_types.Ge) else rule.gt)
        elif isinstance(rule, annotated_types.Le):
            high = _number(rule.le)
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    choices = list(upscalers) if name == "upscaler" else _choices(field.annotation)
    return ScriptArg(
        label=name.replace("_", " ").capitalize(),
        value=value,
        minimum=low,
        maximum=high,
        step=None if high is None else 1 if field.annotation is int else 0.01,
        choices=choices or None,
    )


def _choices(annotation: Any) -> list[str]:
    """The fixed words of a field, or of a list's entries."""
    if get_origin(annotation) is tuple:
        return list(words(get_args(annotation)[0]))
    return list(words(annotation))


def _number(bound: object) -> float | None:
    return float(bound) if isinstance(bound, int | float) else None
