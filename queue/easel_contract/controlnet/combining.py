"""What a unit's fields must have in common with each other and with the request around them."""

from __future__ import annotations

from dataclasses import dataclass

from easel_contract.controlnet.module import Module
from easel_contract.controlnet.unit import ControlUnit
from easel_contract.controlnet.words import ResizeMode
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


class UnusableError(ContractError):
    """A unit that would do nothing here. A service that is not strict renders without it, and says so."""


def check_unit(unit: ControlUnit, module: Module, init: Init | None) -> None:
    """Refuse a unit that would do nothing, which A1111 passes over in silence.

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
    for name in ("advanced_weighting", "effective_region_mask"):
        if module.model_free and getattr(unit, name) is not None:
            _refuse(unit, name, f"is for models; {module.name!r} works without one")
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


def _masked(unit: ControlUnit, init: Init | None) -> bool:
    # The unit's resize mode is that of its own picture; img2img's picture has img2img's.
    fill = unit.resize_mode is ResizeMode.RESIZE_AND_FILL if unit.pictures else init is not None and init.fill
    clear = any(has_alpha(picture.image) for picture in unit.pictures)
    return unit.mask is not None or clear or fill or (init is not None and init.mask)


def _refuse(unit: ControlUnit, name: str, message: str) -> None:
    raise UnusableError(message, field=f"{unit.field}.{name}")
