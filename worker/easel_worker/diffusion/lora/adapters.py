"""New weights in the place of a checkpoint's own, and its own ones back.

Nothing is written into a weight: a module's parameter is another object while networks act, and the one that
was there is put back by reference. So the base cannot drift, and taking networks off costs microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn


class Handle(Protocol):
    """What a registered hook is removed by."""

    def remove(self) -> None: ...


Hook = Callable[[], Handle]
"""Registers a hook and says how it is removed."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """`module.name`, an own parameter of it, is to be `tensor`."""

    module: nn.Module
    name: str
    tensor: torch.Tensor


class Adapters:
    """What acts on one checkpoint's modules beside their weights. Used by the torch thread alone.

    At most one set is kept: it is put on again without any computing when it is asked for by the same key.
    """

    def __init__(self) -> None:
        self.key: Hashable = None
        """Names the set that is kept; None for none."""
        self.told: Any = None
        """What the maker of the set wants to know when it is put on again."""
        self.targets: Any = None
        """The modules by their names in files, once somebody has looked; see `targets.Targets`."""
        self._kept: list[tuple[nn.Module, str, nn.Parameter]] = []
        self._hooks: tuple[Hook, ...] = ()
        self._base: list[tuple[nn.Module, str, nn.Parameter]] = []
        self._handles: list[Handle] = []
        self.worn = False
        """Whether the set acts now."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that are kept beside the checkpoint's own."""
        return sum(parameter.nbytes for _, _, parameter in self._kept)

    def keep(
        self, key: Hashable, told: Any, replacements: Sequence[Replacement], hooks: Sequence[Hook] = ()
    ) -> None:
        """Keep a set instead of the one before; it does not act yet."""
        self.drop()
        self._kept = [
            (one.module, one.name, nn.Parameter(one.tensor, requires_grad=False)) for one in replacements
        ]
        self._hooks = tuple(hooks)
        self.key, self.told = key, told

    def put_on(self) -> None:
        """Let the kept set act. A second time does nothing."""
        if self.worn:
            return
        self.worn = True
        for module, name, parameter in self._kept:
            base = module._parameters[name]
            if base is None:
                raise AssertionError(f"a replacement for a parameter that is not there: {name}")
            self._base.append((module, name, base))
            module._parameters[name] = parameter
        for hook in self._hooks:
            self._handles.append(hook())

    def take_off(self) -> None:
        """The checkpoint is itself again, however far `put_on` came; the set is kept. Twice does nothing."""
        while self._handles:
            self._handles.pop().remove()
        while self._base:
            module, name, base = self._base.pop()
            module._parameters[name] = base
        self.worn = False

    def drop(self) -> None:
        """The same, and forget the set: its memory is free, and the checkpoint's modules may be moved."""
        self.take_off()
        self.key = self.told = None
        self._kept, self._hooks = [], ()
