"""The one door to spandrel, which tells a network's architecture by the keys of its weights and builds it.

spandrel declares torchvision, whose wheels from PyPI are built for CUDA and break transformers beside a CPU
build of torch. Two of its architectures import three functions of it, and neither enlarges anything (LaMa
fills holes, RestoreFormer is no restorer that we offer). So spandrel is installed without its dependencies
(``worker/no-deps.txt``), and where torchvision is absent those two are left out.

CodeFormer's architecture is in ``spandrel_extra_arches``, under a licence that allows no commercial use:
it is used when the operator has installed it, and never installed by us.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from easel_contract.errors import ContractError
from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.weights import StateDict

_USED = ("InterpolationMode", "normalize", "rotate")
_WITHOUT_TORCHVISION = ("LaMa", "RestoreFormer")
_MODULES = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")


def build(weights: StateDict, path: Path) -> Any:
    """spandrel's descriptor of the network that these weights are of, on the CPU, for inference.

    Raises:
        WeightsError: no known architecture has such keys, or their shapes do not fit it.
        ContractError: 501, spandrel is not installed.
    """
    spandrel, registry = library()
    try:
        return registry.load(spandrel.canonicalize_state_dict(weights)).eval()
    except spandrel.UnsupportedModelError:
        extra = "" if "CodeFormer" in registry else " (CodeFormer's needs the package spandrel_extra_arches)"
        raise WeightsError(f"{path} is of no architecture that is known here{extra}") from None
    except (
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        ZeroDivisionError,
    ) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise WeightsError(f"{path} has weights that do not fit its architecture: {reason}") from error


@cache
def library() -> tuple[Any, Any]:
    """spandrel, and a registry of the architectures that work here.

    Raises:
        ContractError: 501, it is not installed.
    """
    if importlib.util.find_spec("spandrel") is None:
        raise ContractError(
            "this installation has no networks for pictures: pip install --no-deps spandrel einops",
            status=501,
            kind="not_installed",
        )
    has_torchvision = importlib.util.find_spec("torchvision") is not None
    if has_torchvision:
        spandrel = importlib.import_module("spandrel")
    else:
        # transformers, which looks for torchvision while it loads, has been loaded by weights.py.
        with _stand_in():
            spandrel = importlib.import_module("spandrel")
    registry = spandrel.ArchRegistry()
    supports = list(spandrel.MAIN_REGISTRY)
    if importlib.util.find_spec("spandrel_extra_arches") is not None:
        supports += list(importlib.import_module("spandrel_extra_arches").EXTRA_REGISTRY)
    registry.add(
        *(
            support
            for support in supports
            if has_torchvision or support.architecture.id not in _WITHOUT_TORCHVISION
        )
    )
    return spandrel, registry


@contextmanager
def _stand_in() -> Iterator[None]:
    """Names for spandrel to import, gone afterwards, so that nobody takes them for torchvision."""
    modules = {name: ModuleType(name) for name in _MODULES}
    for name in _USED:
        setattr(modules[_MODULES[-1]], name, _absent)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _absent(*_: object, **__: object) -> None:
    raise WeightsError("this architecture needs torchvision, which is not installed")
