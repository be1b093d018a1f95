"""The preprocessors by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from easel_contract.controlnet.module import RESOLUTION, Module
from easel_contract.controlnet.module_table import TABLE

__all__ = ["MODULES", "NONE", "RESOLUTION", "Module", "find_module"]

NONE: Final = "none"
"""The module that hands the picture on as it is."""

MODULES: Final[Mapping[str, Module]] = MappingProxyType({module.name: module for module in TABLE})
"""Name -> module, in the order in which A1111 lists them."""

_SPELLINGS: Final = {
    **{module.label.casefold(): module for module in TABLE},
    **{module.name.casefold(): module for module in TABLE},  # the name wins: "lineart" is one, no label is
    "": MODULES[NONE],
}


def find_module(name: str) -> Module | None:
    """The module that a client means by a name or a label, in any letter case. Empty is `none`."""
    return _SPELLINGS.get(name.strip().casefold())
