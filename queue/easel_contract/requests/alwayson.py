"""`alwayson_scripts`: the cloud's plain keys, and the scripts that take part in every generation.

A script is named by its title in any letter case and given ``{"args": [...]}``, by position. Arguments beyond
the script's own are dropped, missing ones have their defaults, and a script without ``args`` runs with its
defaults, all as A1111 does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from easel_contract.controlnet.combining import HiresPasses, Init
from easel_contract.controlnet.reading import Units, read_units
from easel_contract.errors import ContractError
from easel_contract.requests.body import from_validation

M = TypeVar("M", bound=BaseModel)


class AlwaysonOptions(BaseModel):
    """The cloud's plain keys inside `alwayson_scripts`."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    sd_model_checkpoint: str | None = Field(None, description="Checkpoint for this request.")
    sd_vae: str | None = Field(None, description="VAE for this request: Automatic, None, or a file's name.")
    save_dir: str | None = Field(None, description="Store pictures here and answer paths instead of base64.")
    id_task: str | None = Field(None, description="The caller's id of the task, echoed.")
    uid: str | None = Field(None, description="The user the task is for.")
    presigned_url: bool = Field(
        False, description="With S3 storage and save_dir: also answer presigned URLs."
    )
    image_link: str | None = Field(None, description="Address of the init image, for img2img.")


class ScriptArgs(BaseModel):
    """Arguments of a script. They come by position, in the order of the fields."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class SoftInpainting(ScriptArgs):
    """Always-on script `Soft inpainting`: a mask with soft edges changes the picture by degrees."""

    enabled: bool = False
    mask_blend_power: float = Field(1.0, ge=0, le=8)
    mask_blend_scale: float = Field(0.5, ge=0, le=8)
    inpaint_detail_preservation: float = Field(4.0, ge=1, le=32)
    composite_mask_influence: float = Field(0.0, ge=0, le=1)
    composite_difference_threshold: float = Field(0.5, ge=0, le=8)
    composite_difference_contrast: float = Field(2.0, ge=0, le=8)


class RefinerArgs(ScriptArgs):
    """Always-on script `Refiner`; the same as the fields `refiner_checkpoint` and `refiner_switch_at`."""

    enabled: bool = False
    checkpoint: str | None = None
    switch_at: float = Field(0.8, ge=0, le=1)


class SeedArgs(ScriptArgs):
    """Always-on script `Seed`; the same as the fields of those names."""

    seed: int | str = -1
    extras: bool = False
    subseed: int | str = -1
    subseed_strength: float = 0.0
    seed_resize_from_w: int = 0
    seed_resize_from_h: int = 0


class SamplerArgs(ScriptArgs):
    """Always-on script `Sampler`; the same as the fields of those names."""

    steps: int = 20
    sampler_name: str | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Alwayson:
    """What `alwayson_scripts` says."""

    options: AlwaysonOptions
    soft_inpainting: SoftInpainting | None = None
    control: Units = field(default_factory=Units)


INERT = frozenset({"extra options", "hypertile", "comments"})
"""Scripts of a stock A1111 that change no picture unless options say so; accepted, and nothing is done."""

CONTROLNET = "controlnet"

SELECTABLE_KIND = "Cannot have a selectable script in the always on scripts params"


def read_alwayson(
    scripts: dict[str, JsonValue],
    selectable: frozenset[str],
    *,
    max_units: int,
    strict: bool,
    init: Init | None = None,
    hires: HiresPasses | None = None,
) -> Alwayson:
    """Check and read `alwayson_scripts`.

    Args:
        scripts: The field's value.
        selectable: Titles, in lower case, of the scripts that belong into `script_name`.
        max_units, strict, init, hires: See `read_units`.

    Raises:
        ContractError: 422 for an unknown script, a selectable one, or a wrong argument.
    """
    options: dict[str, JsonValue] = {}
    soft: SoftInpainting | None = None
    units: list[JsonValue] = []
    for name, value in scripts.items():
        title = name.strip().casefold()
        if name in AlwaysonOptions.model_fields:
            if value is not None:
                options[name] = value
        elif title == "soft inpainting":
            place = f"alwayson_scripts.{name}"
            soft = read_args(SoftInpainting, arguments(value, place), f"{place}.args")
        elif title in SPREAD or title in INERT:
            _ = arguments(value, f"alwayson_scripts.{name}")
        elif title == CONTROLNET:
            if units:
                raise ContractError("is given twice, in another spelling", field=f"alwayson_scripts.{name}")
            units = arguments(value, f"alwayson_scripts.{name}")
        elif title in selectable:
            raise ContractError(SELECTABLE_KIND, field=f"alwayson_scripts.{name}")
        else:
            raise ContractError(f"Script '{name}' not found", field=f"alwayson_scripts.{name}")
    try:
        parsed = AlwaysonOptions.model_validate(options)
    except ValidationError as error:
        raise from_validation(error, "alwayson_scripts.") from None
    control = read_units(units, limit=max_units, strict=strict, init=init, hires=hires)
    return Alwayson(parsed, soft if soft and soft.enabled else None, control)


def spread(body: dict[str, Any]) -> dict[str, Any]:
    """The body with what the scripts `Refiner`, `Seed` and `Sampler` say in the fields of those names.

    Raises:
        ContractError: 422 for a wrong argument.
    """
    scripts = body.get("alwayson_scripts")
    if not isinstance(scripts, dict):
        return body
    for name, value in scripts.items():
        reader = SPREAD.get(name.strip().casefold())
        if reader is None:
            continue
        field = f"alwayson_scripts.{name}"
        given = arguments(value, field)
        if given:
            body = {**body, **reader(given, f"{field}.args")}
    return body


def read_args(model: type[M], given: list[JsonValue], field: str) -> M:
    """A script's arguments, by position, as its model.

    Raises:
        ContractError: 422, naming the argument below `field`.
    """
    named = dict(zip(model.model_fields, given, strict=False))
    try:
        return model.model_validate({key: item for key, item in named.items() if item is not None})
    except ValidationError as error:
        raise from_validation(error, f"{field}.") from None


def arguments(value: JsonValue, field: str) -> list[JsonValue]:
    """The list ``args`` of ``{"args": [...]}``; empty where there is none.

    Raises:
        ContractError: 422 for another shape.
    """
    if value is None:
        return []
    if not isinstance(value, dict):
        raise ContractError('is not an object; send {"args": [...]}', field=field)
    given = value.get("args")
    if given is None:
        return []
    if not isinstance(given, list):
        raise ContractError("is not a list", field=f"{field}.args")
    return given


def _refiner(given: list[JsonValue], field: str) -> dict[str, Any]:
    args = read_args(RefinerArgs, given, field)
    if not args.enabled:
        return {}
    return {"refiner_checkpoint": args.checkpoint, "refiner_switch_at": args.switch_at}


def _seed(given: list[JsonValue], field: str) -> dict[str, Any]:
    args = read_args(SeedArgs, given, field)
    return args.model_dump(exclude={"extras"}) if args.extras else {"seed": args.seed}


def _sampler(given: list[JsonValue], field: str) -> dict[str, Any]:
    return read_args(SamplerArgs, given, field).model_dump(exclude_none=True)


SPREAD = {"refiner": _refiner, "seed": _seed, "sampler": _sampler}
"""Scripts whose arguments are fields of the request under another name."""
