"""The preprocessors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from easel_contract.controlnet.module import RESOLUTION, Module
from easel_contract.controlnet.module_table import TABLE

__all__ = ["AUTO", "MODULES", "NONE", "RESOLUTION", "Module", "available_modules", "find_module"]

NONE: Final = "none"
"""The module that hands the picture on as it is."""

AUTO: Final = "ip-adapter-auto"
"""The module that its model chooses."""

MODULES: Final[Mapping[str, Module]] = MappingProxyType({module.name: module for module in TABLE})
"""Name -> module, in the order in which A1111 lists them."""

_SPELLINGS: Final = {
    **{module.label.casefold(): module for module in TABLE},
    **{module.name.casefold(): module for module in TABLE},  # the name wins: "lineart" is one, no label is
    "": MODULES[NONE],
}


def available_modules(models: Path, *, allow_pickle: bool) -> list[Module]:
    """The modules that can be run with the files below the directory `models`, which is looked into; those
    whose only files are pickles where `allow_pickle` is set.

    `AUTO` stands for another of its type, and is there where one of those is.
    """
    found = [module for module in TABLE if module.available(models, allow_pickle=allow_pickle)]
    kinds = [kind for module in found if module.name != AUTO for kind in module.types]
    return [module for module in found if module.name != AUTO or set(module.types) & set(kinds)]


def find_module(name: str) -> Module | None:
    """The module that a client means by a name or a label, in any letter case. Empty is `none`."""
    return _SPELLINGS.get(name.strip().casefold())
