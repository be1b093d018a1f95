"""Checkpoints in memory, the least recently used thrown out first."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from easel_contract.checkpoints import ModelFile

log = logging.getLogger(__name__)


class Loaded(Protocol):
    """What the cache knows of a checkpoint."""

    @property
    def nbytes(self) -> int: ...


C = TypeVar("C", bound=Loaded)


class CheckpointCache(Generic[C]):
    """At most `limit` checkpoints. Used by the torch thread only, which runs one task at a time, so the
    checkpoint in use is always the newest and never the one thrown out.

    Room is made *before* loading: a device that holds one model can never hold two for a moment.
    """

    def __init__(self, limit: int, load: Callable[[ModelFile], C], free: Callable[[], None]) -> None:
        self._limit = limit
        self._load = load
        self._free = free
        self._loaded: OrderedDict[ModelFile, C] = OrderedDict()

    def get(self, model: ModelFile) -> C:
        """The checkpoint, loaded if need be. What `load` raises passes through and leaves no trace."""
        if model in self._loaded:
            self._loaded.move_to_end(model)
            return self._loaded[model]
        for stale in [other for other in self._loaded if other.path == model.path]:
            del self._loaded[stale]  # the folder was replaced
        self._shrink(self._limit - 1)
        checkpoint = self._load(model)
        self._loaded[model] = checkpoint
        return checkpoint

    def shrink_to_newest(self) -> None:
        """Keep only the checkpoint used last: called when memory ran out."""
        self._shrink(1)

    def clear(self) -> None:
        """Keep none."""
        self._shrink(0)

    def names(self) -> tuple[str, ...]:
        """Names of what is loaded, the newest last. May be called from any thread."""
        return tuple(model.name for model in list(self._loaded))

    def _shrink(self, limit: int) -> None:
        thrown_out = False
        while len(self._loaded) > limit:
            model, checkpoint = self._loaded.popitem(last=False)
            log.info("checkpoint %s: thrown out (%.0f MB)", model.name, checkpoint.nbytes / 1e6)
            del checkpoint
            thrown_out = True
        if thrown_out:
            self._free()
