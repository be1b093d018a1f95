"""Modules of diffusers without weights: built once for each configuration, copied from then on.

Building one goes through a thousand constructors and takes as long as reading a quarter of its weights, and
models of one family nearly all have the same configuration.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import no_init_weights

_KEPT = 8
"""Configurations; one takes some megabytes."""
_CONTAINERS = (dict, OrderedDict, list, set)

_skeletons: OrderedDict[tuple[type, str], Any] = OrderedDict()


def build(kind: Any, config: Mapping[str, Any], where: str) -> Any:
    """A module of the class `kind` on torch's meta device; used by the torch thread alone.

    Raises:
        CheckpointError: none can be built from `config`; begins with `where`.
    """
    key = kind, json.dumps(dict(config), sort_keys=True, default=repr)
    skeleton = _skeletons.get(key)
    if skeleton is None:
        skeleton = build_on_meta(lambda: kind.from_config(dict(config)), where)
        if len(_skeletons) >= _KEPT:
            _skeletons.popitem(last=False)
        _skeletons[key] = skeleton
    _skeletons.move_to_end(key)
    return copy_module(skeleton, {})


def build_on_meta(make: Callable[[], Any], where: str) -> Any:
    """What `make` makes of the libraries' classes, on torch's meta device: shapes without memory. Raises as
    `build`."""
    try:
        # Every weight is about to be replaced: none needs memory, or a first value.
        with torch.device("meta"), no_init_weights():
            return make()
    except Exception as error:  # the libraries raise anything for a configuration they cannot follow
        raise CheckpointError(f"{where} describes no model that we can build: {error}") from error


def copy_module(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    """A module of the same structure, with modules, tables of weights and hooks of its own.

    The weights themselves are shared, and so is what is no module and no container: configurations and
    attention processors, which have no state. `copy.deepcopy` takes as long as building does.

    made: the copies so far, by the identity of what they were made of; a module may be in two places.
    """
    known = made.get(id(module))
    if known is not None:
        return known
    twin = made[id(module)] = object.__new__(type(module))
    for name, value in module.__dict__.items():
        twin.__dict__[name] = value.copy() if type(value) in _CONTAINERS else value
    twin.__dict__["_modules"] = {
        name: None if inner is None else copy_module(inner, made) for name, inner in module._modules.items()
    }
    return twin
