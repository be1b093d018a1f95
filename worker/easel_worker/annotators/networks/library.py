"""The one door to controlnet_aux, whose detectors are imported one by one.

controlnet_aux declares torchvision and timm, and its ``__init__`` imports all detectors, those included that
cannot do without. torchvision's wheels from PyPI are built for CUDA and break transformers beside a CPU build
of torch. So controlnet_aux is installed without its dependencies (``worker/no-deps.txt``), an empty package
stands for its ``__init__``, and what is imported from it is named here in full.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from easel_contract.errors import ContractError

LIBRARY = "controlnet_aux"
BARE = frozenset({"leres", "normalbae", "open_pose"})
"""Its packages whose own ``__init__`` imports torchvision; their other modules do not, but for the face's."""


def aux(module: str) -> Any:
    """The module of controlnet_aux with this dotted name, such as ``hed`` or ``open_pose.body``.

    Raises:
        ContractError: 501, it is not installed, or something that it imports is not.
    """
    _bare(LIBRARY)
    package = module.partition(".")[0]
    if package in BARE:
        _bare(f"{LIBRARY}.{package}")
    try:
        if module == "open_pose.face":
            with _torchvision_for_face():
                return importlib.import_module(f"{LIBRARY}.{module}")
        return importlib.import_module(f"{LIBRARY}.{module}")
    except Exception as error:  # a torchvision that does not fit its torch raises RuntimeError, for one
        raise ContractError(
            f"{LIBRARY} cannot be used: {type(error).__name__}: {error}", status=501, kind="not_installed"
        ) from error


def _bare(name: str) -> None:
    """Put a package without its ``__init__`` where imports look, unless it is there."""
    if name in sys.modules:
        return
    parent, _, last = name.rpartition(".")
    if parent:
        paths = [f"{path}/{last}" for path in sys.modules[parent].__path__]
    else:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise ContractError(
                f"this installation has no {name}: pip install --no-deps {name}==0.0.10",
                status=501,
                kind="not_installed",
            )
        paths = list(spec.submodule_search_locations)
    package = ModuleType(name)
    package.__path__ = paths
    sys.modules[name] = package


@contextmanager
def _torchvision_for_face() -> Iterator[None]:
    """The two names that ``open_pose/face.py`` imports and never uses; gone afterwards, so that nobody takes
    them for torchvision."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        yield
        return
    modules = {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms")}
    for used in ("ToPILImage", "ToTensor"):
        setattr(modules["torchvision.transforms"], used, object)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
