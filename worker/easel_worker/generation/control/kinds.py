"""What a module makes of a unit's picture decides how the unit takes part in a pass."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from easel_contract.errors import ContractError

if TYPE_CHECKING:
    from easel_worker.diffusion.control import ControlKind


class Kind(Enum):
    """How a unit acts."""

    MAP = "map"
    """A network follows a map."""
    INPAINT = "inpaint"
    """The same, and the map hides what is to be painted."""
    REFERENCE = "reference"
    """The picture itself is looked at by the UNet's attention; no model."""
    IMAGE_PROMPT = "image prompt"
    """CLIP's view of the picture joins the prompt, through an IP-Adapter."""
    REVISION = "revision"
    """CLIP's embedding of the picture stands in for SDXL's pooled text; no model."""

    @property
    def looks(self) -> bool:
        """Whether CLIP looks at the picture itself, so that there is no map."""
        return self in (Kind.IMAGE_PROMPT, Kind.REVISION)


def kind_of(module: str) -> Kind:
    """The kind of a module, by its canonical name."""
    if module.startswith("inpaint"):
        return Kind.INPAINT
    if module.startswith("reference_"):
        return Kind.REFERENCE
    if module.startswith("revision_"):
        return Kind.REVISION
    return Kind.IMAGE_PROMPT if module.startswith("ip-adapter") else Kind.MAP


def check_kind(found: ControlKind, kind: Kind, *, name: str, field: str) -> None:
    """Raise ContractError where a model, called `name`, cannot do what the unit's module prepares for."""
    if (found == "ip-adapter") != (kind is Kind.IMAGE_PROMPT):
        wanted = "an IP-Adapter" if kind is Kind.IMAGE_PROMPT else "a network that follows a map"
        raise ContractError(f"{name} is not {wanted}, which the module prepares for", field=field)
