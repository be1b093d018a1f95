"""What a unit's fields must have in common with each other and with the request around them."""

from __future__ import annotations

from dataclasses import dataclass

from easel_contract.controlnet.module import Module
from easel_contract.controlnet.unit import ControlUnit
from easel_contract.controlnet.words import HrOption, ResizeMode
from easel_contract.errors import ContractError
from easel_contract.images import has_alpha

ADAPTERS = frozenset({"IP-Adapter", "Instant-ID"})
"""Types of modules whose models take embeddings of pictures."""


@dataclass(frozen=True)
class Init:
    """What img2img has that stands in for a unit's own: always a picture.

    mask: There is a mask as well. fill: The picture is fitted and what is missing filled, that is outpainted.
    """

    mask: bool = False
    fill: bool = False


@dataclass(frozen=True)
class HiresPasses:
    """Which of the two passes of a generation with hires make steps.

    first: No picture stands in for it. second: Its denoising strength is not 0.
    """

    first: bool = True
    second: bool = True


class UnusableError(ContractError):
    """A unit that would do nothing here. A service that is not strict renders without it, and says so."""


def check_unit(unit: ControlUnit, module: Module, init: Init | None, hires: HiresPasses | None) -> None:
    """Refuse a unit that would do nothing, which A1111 passes over in silence.

    Args:
        init: See `read_units`.
        hires: None where there is no second pass, or nobody knows yet.

    Raises:
        UnusableError: 422, naming the field that is wrong and what would be right.
    """
    if not module.supported:
        _refuse(unit, "module", module.refusal)
    if unit.model is None and not module.model_free:
        _refuse(
            unit,
            "model",
            f"is None, and {module.name!r} only prepares a picture for a model; GET /controlnet/model_list "
            "has their names",
        )
    if unit.guidance_start == 1:
        _refuse(unit, "guidance_start", "is 1, where every step has begun already; send less")
    if hires is not None:
        _check_passes(unit, hires)
    if unit.ipadapter_input is not None:
        if not ADAPTERS & set(module.types):
            _refuse(
                unit, "ipadapter_input", f"is for modules of IP-Adapter; {module.name!r} makes no embeddings"
            )
        if unit.pictures:
            _refuse(unit, "ipadapter_input", "is given beside a picture; send one of them")
        return
    if len(unit.pictures) > 1 and not ADAPTERS & set(module.types):
        _refuse(
            unit,
            "image",
            f"has {len(unit.pictures)} pictures; {module.name!r} takes one, several are for IP-Adapter",
        )
    if not unit.pictures and init is None:
        _refuse(unit, "image", "there is no picture; send image, or image_link")
    if module.needs_mask and not _masked(unit, init):
        _refuse(
            unit,
            "mask",
            f"{module.name!r} needs one: what is masked is painted anew. To outpaint instead, send the "
            "resize_mode 'Resize and Fill'",
        )


def _check_passes(unit: ControlUnit, hires: HiresPasses) -> None:
    first = hires.first and unit.hr_option is not HrOption.HIGH
    second = hires.second and unit.hr_option is not HrOption.LOW
    if first or second:
        return
    reasons = {
        HrOption.LOW: "firstpass_image stands in for the first pass",
        HrOption.HIGH: "a second pass of denoising_strength 0 makes no steps",
    }
    why = [reason for option, reason in reasons.items() if unit.hr_option in (option, HrOption.BOTH)]
    right = {HrOption.LOW: hires.second, HrOption.HIGH: hires.first}.get(unit.hr_option, False)
    _refuse(
        unit,
        "hr_option",
        f"{unit.hr_option.value!r}: {', and '.join(why)}; "
        + (f"send {HrOption.BOTH.value!r}" if right else "send a higher denoising_strength"),
    )


def _masked(unit: ControlUnit, init: Init | None) -> bool:
    # The unit's resize mode is that of its own picture; img2img's picture has img2img's.
    fill = unit.resize_mode is ResizeMode.RESIZE_AND_FILL if unit.pictures else init is not None and init.fill
    clear = any(has_alpha(picture.image) for picture in unit.pictures)
    return unit.mask is not None or clear or fill or (init is not None and init.mask)


def _refuse(unit: ControlUnit, name: str, message: str) -> None:
    raise UnusableError(message, field=f"{unit.field}.{name}")
