"""Fields that say something to a unit of another kind only: with this module nothing would come of them."""

from __future__ import annotations

from easel_contract.controlnet.combining import ADAPTERS
from easel_contract.controlnet.module import Module
from easel_contract.controlnet.unit import ControlUnit
from easel_contract.controlnet.words import ControlMode, PulidMode, UnionControlType

REVISION = "Revision"
"""Type of the modules whose picture stands in for SDXL's pooled prompt."""


def idle_fields(unit: ControlUnit, module: Module) -> dict[str, str]:
    """What the unit asks for in vain: field -> why, and what would be right.

    Defaults ask for nothing, and sliders that a module does not have are no such field either: clients send
    all of them with every module. Whether a map's model is a union model, its file tells.
    """
    adapter = bool(ADAPTERS & set(module.types))
    found: dict[str, str] = {}
    if module.model_free:
        for name in ("advanced_weighting", "effective_region_mask"):
            if getattr(unit, name) is not None:
                found[name] = f"is for models; {module.name!r} works without one"
    if unit.control_mode is not ControlMode.BALANCED and REVISION in module.types:
        found["control_mode"] = (
            f"means nothing to {module.name!r}, which leaves the negative prompt alone; send 0 (Balanced)"
        )
    if unit.union_control_type is not UnionControlType.UNKNOWN and (adapter or module.model_free):
        found["union_control_type"] = f"is for union ControlNets, which {module.name!r} does not prepare for"
    if unit.pulid_mode is not PulidMode.FIDELITY:
        found["pulid_mode"] = "is for PuLID, which this version of Easel has not; send 'Fidelity', or nothing"
    if unit.mask is not None and not unit.pictures and not module.needs_mask:
        found["mask"] = (
            "is for a picture; an embedding has none"
            if unit.ipadapter_input is not None
            else f"is for the unit's own picture, which there is none of; {module.name!r} looks at all of "
            "img2img's. Send image beside it"
        )
    return found


def without(unit: ControlUnit, names: set[str]) -> ControlUnit:
    """The unit with the defaults of these fields."""
    return unit.model_copy(update={name: ControlUnit.model_fields[name].default for name in names})
