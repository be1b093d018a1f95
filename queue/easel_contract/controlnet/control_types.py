"""Control types: what A1111's pages group modules and models by, and what they choose first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from easel_contract.controlnet.module import Module
from easel_contract.controlnet.modules import NONE

ALL: Final = "All"
NO_MODEL: Final = "None"

_UNION: Final = "union"
"""In the names of models that were trained for several types."""

_PREFERRED: Final = "11"
"""In the names of ControlNet 1.1's models, the usual choice."""


@dataclass(frozen=True)
class ControlType:
    """One type. `words`: parts of the names of its models in lower case, beside its own name; `option`: the
    label of the module that is chosen with it."""

    name: str
    option: str
    words: tuple[str, ...] = ()


TYPES: Final[Mapping[str, ControlType]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            ControlType("Canny", "canny", (_UNION,)),
            ControlType("Depth", "depth_midas", (_UNION,)),
            ControlType("IP-Adapter", "ip-adapter-auto", ("ip_adapter", "ipadapter")),
            ControlType("Inpaint", "inpaint_only", (_UNION,)),
            ControlType("Instant-ID", "instant_id_face_keypoints", ("instant_id", "instantid")),
            ControlType("InstructP2P", "none", ("ip2p",)),
            ControlType("Lineart", "lineart_standard (from white bg & black line)", (_UNION,)),
            ControlType("MLSD", "mlsd", (_UNION,)),
            ControlType("NormalMap", "normal_bae", ("normal", _UNION)),
            ControlType("OpenPose", "openpose_full", ("openpose", "densepose", _UNION)),
            ControlType("Recolor", "recolor_luminance"),
            ControlType("Reference", "reference_only"),
            ControlType("Revision", "revision_clipvision"),
            ControlType("Scribble", "scribble_pidinet", ("sketch", _UNION)),
            ControlType("Segmentation", "seg_ofade20k", ("seg", _UNION)),
            ControlType("Shuffle", "shuffle"),
            ControlType("SoftEdge", "softedge_pidinet", (_UNION,)),
            ControlType("SparseCtrl", "scribble_pidinet"),
            ControlType("T2I-Adapter", "t2ia_style_clipvision", ("t2i_adapter", "t2iadapter", "t2ia")),
            ControlType("Tile", "tile_resample", ("blur", _UNION)),
        )
    }
)
"""Name -> type, sorted."""

_CHOSEN: Final = frozenset(kind.option for kind in TYPES.values())


@dataclass(frozen=True)
class TypeChoices:
    """What a page offers for one type: labels of modules, names of models, and which of them it chooses."""

    modules: tuple[str, ...]
    models: tuple[str, ...]
    default_module: str
    default_model: str


def in_order(modules: Sequence[Module]) -> list[Module]:
    """Modules as A1111 lists them: `none`, those that types choose, the others, each by label from z to a."""
    return sorted(
        modules,
        key=lambda module: (module.name == NONE, module.label in _CHOSEN, module.label),
        reverse=True,
    )


def choices(modules: Sequence[Module], models: Sequence[str]) -> dict[str, TypeChoices]:
    """Type -> what there is for it, `All` first.

    Args:
        modules: Those that can be run. Where a type's usual one is not among them, its first one stands in.
        models: Names as lists show them, with their hashes.
    """
    ordered = in_order(modules)
    labels = tuple(module.label for module in ordered)
    found = {ALL: TypeChoices(labels, (NO_MODEL, *models), NONE, NO_MODEL)}
    for kind in TYPES.values():
        own = [module.label for module in ordered if kind.name in module.types and module.name != NONE]
        fits = [name for name in models if _fits(kind, name)]
        option = kind.option if kind.option in own else own[0] if own else NONE
        found[kind.name] = TypeChoices(
            (NONE, *own), (NO_MODEL, *fits), option, _first_choice(fits) or NO_MODEL
        )
    return found


def _fits(kind: ControlType, model: str) -> bool:
    name = model.casefold()
    return any(word in name for word in (kind.name.casefold(), *kind.words))


def _first_choice(models: Sequence[str]) -> str | None:
    preferred = (name for name in models if _PREFERRED in name.partition("[")[0])
    return next(preferred, models[0] if models else None)
