"""Models in memory, in two tiers: on the device, and in RAM until a task wants them there again.

    disk ──load──► device ◄──.to(device)── RAM
                     └───────.to(cpu)──────►┘ ──dropped──►

Everything that weighs goes through one cache: checkpoints with the weights that LoRAs made for them, VAEs,
control networks, preprocessors, upscalers. What was used longest ago leaves a tier first, and what the
running task uses never does.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from easel_worker.models.budget import Budget

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"
"""The kind that `ModelCache` counts, and that stays when memory ran out."""

CPU = torch.device("cpu")


class Cacheable(Protocol):
    """What the cache knows of a model."""

    @property
    def nbytes(self) -> int:
        """Bytes of its weights, wherever they are. May change while a task uses it: see `make_room`."""

    def to(self, device: torch.device) -> object:
        """Move all of it, in place. Called between tasks, or before the running one uses it."""


M = TypeVar("M", bound=Cacheable)


class Tier(str, Enum):
    """Where a model is."""

    DEVICE = "device"
    RAM = "ram"


@dataclass(frozen=True)
class Key:
    """What a model is known by.

    kind: ``checkpoint``, ``vae``, ``controlnet``, ``annotator``, … name: as clients call it. path and stamp:
    a file and its version; a model of the same kind and path with another stamp is out of date and forgotten.
    variant: what else two models of one file may differ in.
    """

    kind: str
    name: str
    path: Path
    stamp: Hashable = None
    variant: Hashable = None


@dataclass(frozen=True)
class Held:
    """One model that the cache holds, for heartbeats and pages."""

    kind: str
    name: str
    tier: Tier
    nbytes: int


@dataclass
class _Entry:
    model: Any
    tier: Tier = Tier.DEVICE
    in_use: bool = False
    movable: bool = True


class ModelCache:
    """Models by key. Used by the torch thread only, but for `held`.

    Room is made *before* a model is loaded or moved: a device that holds one large model may not hold two for
    a moment. Where `device` is the CPU both tiers are the same memory: then there is only the first, and
    nothing is ever moved.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        on_device: Budget,
        in_ram: Budget,
        free: Callable[[], None],
        checkpoints: int = 0,
    ) -> None:
        """`on_device` and `in_ram`: the tiers' sizes; on a CPU only `in_ram` counts. free: gives what is no
        longer used back to the system. checkpoints: at most so many in both tiers together; 0 is any."""
        self._device = device
        self._single = device.type == "cpu"
        self._budgets = {Tier.DEVICE: in_ram if self._single else on_device, Tier.RAM: in_ram}
        self._free = free
        self._checkpoints = checkpoints
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._held: tuple[Held, ...] = ()
        self._in_job = False
        self._left = False

    @contextmanager
    def job(self) -> Iterator[None]:
        """What is got within stays where it is until the end: a task may change it in between (a LoRA does),
        and wants it as it was."""
        self._in_job = True
        try:
            yield
        finally:
            self._in_job = False
            try:
                self.make_room(0)  # what is in use may weigh more than it did
                self._tell()
            finally:
                for entry in self._entries.values():
                    entry.in_use = False

    def get(self, key: Key, load: Callable[[], M], *, expected: Callable[[], int], movable: bool = True) -> M:
        """The model of a key, on the device: at hand, moved from RAM, or loaded there.

        Args:
            load: Loads it to the device. What it raises passes through and leaves no trace.
            expected: Asked before loading: how many bytes it will take, as far as that can be known.
            movable: False for what cannot leave the device but by being thrown out.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._loaded(key, load, expected)
            entry.movable = movable
        elif entry.tier is Tier.RAM:
            self._lift(key, entry)
        else:
            self._make_room(0, but=entry)  # memory that others took meanwhile is given back
            self._reclaim()
        self._entries.move_to_end(key)
        entry.in_use = entry.in_use or self._in_job
        self._tell()
        model: M = entry.model
        return model

    def keep_newest(self, kinds: Collection[str], count: int) -> None:
        """Keep at most so many models of these kinds, in both tiers together; those in use stay anyway."""
        same = [key for key in self._entries if key.kind in kinds]
        idle = [key for key in same if not self._entries[key].in_use]
        self._drop(idle[: max(len(same) - count, 0)])
        self._reclaim()

    def make_room(self, nbytes: int) -> None:
        """Have models that are not in use leave the device until `nbytes` more fit: called before a model
        that is in use comes to weigh so much more."""
        self._make_room(nbytes)
        self._reclaim()

    def shrink_to_newest(self) -> None:
        """Keep only the checkpoint used last: called when memory ran out."""
        newest = next((key for key in reversed(self._entries) if key.kind == CHECKPOINT), None)
        self._drop([key for key in self._entries if key != newest])
        self._reclaim()

    def clear(self) -> None:
        """Keep nothing."""
        self._drop(list(self._entries))
        self._reclaim()

    def held(self) -> tuple[Held, ...]:
        """What there is, the newest last. May be called from any thread."""
        return self._held

    def _loaded(self, key: Key, load: Callable[[], Any], expected: Callable[[], int]) -> _Entry:
        here = (key.kind, key.path)
        self._drop([one for one in self._entries if (one.kind, one.path) == here and one.stamp != key.stamp])
        if key.kind == CHECKPOINT and self._checkpoints:
            same = [other for other, entry in self._entries.items() if other.kind == CHECKPOINT]
            idle = [other for other in same if not self._entries[other].in_use]
            self._drop(idle[: max(len(same) - self._checkpoints + 1, 0)])
        self._make_room(expected())
        self._reclaim()
        # A task runs in inference mode, and tensors born in it could never be changed outside of it.
        with torch.inference_mode(mode=False):
            entry = self._entries[key] = _Entry(load())
        return entry

    def _lift(self, key: Key, entry: _Entry) -> None:
        self._make_room(entry.model.nbytes, but=entry)
        self._reclaim()
        try:
            with torch.inference_mode(mode=False):
                entry.model.to(self._device)
        except BaseException:
            # Some of it is here and some there; the file is still whole.
            self._drop([key])
            self._reclaim()
            raise
        entry.tier = Tier.DEVICE

    def _make_room(self, nbytes: int, *, but: _Entry | None = None) -> None:
        """Have models leave the device until `nbytes` more fit, as far as there are any that may."""
        short = nbytes - self._budgets[Tier.DEVICE].room(self._used(Tier.DEVICE))
        leaving = []
        for key, entry in self._entries.items():
            if short <= 0:
                break
            if entry.tier is Tier.DEVICE and not entry.in_use and entry is not but:
                leaving.append(key)
                short -= entry.model.nbytes
        for key in leaving:
            self._lower(key, but)

    def _lower(self, key: Key, but: _Entry | None) -> None:
        """Move a model to RAM, where others go for it; drop it where it does not fit."""
        entry = self._entries[key]
        if self._single or not entry.movable:
            self._drop([key])
            return
        nbytes = entry.model.nbytes
        # What is about to leave RAM counts as gone: two models must be able to change places.
        used = self._used(Tier.RAM) - (but.model.nbytes if but and but.tier is Tier.RAM else 0)
        short = nbytes - self._budgets[Tier.RAM].room(used)
        going = []
        for other, resting in self._entries.items():
            if short <= 0:
                break
            if resting.tier is Tier.RAM and resting is not but:
                going.append(other)
                short -= resting.model.nbytes
        if short > 0:
            self._drop([key])
            return
        self._drop(going)
        with torch.inference_mode(mode=False):
            entry.model.to(CPU)
        entry.tier = Tier.RAM
        self._left = True
        log.info("%s %s: moved to RAM (%.0f MB)", key.kind, key.name, nbytes / 1e6)

    def _used(self, tier: Tier) -> int:
        return sum(entry.model.nbytes for entry in self._entries.values() if entry.tier is tier)

    def _drop(self, keys: list[Key]) -> None:
        for key in keys:
            entry = self._entries.pop(key)
            log.info("%s %s: thrown out (%.0f MB)", key.kind, key.name, entry.model.nbytes / 1e6)
            del entry
            self._left = True

    def _reclaim(self) -> None:
        """Give back what left a tier."""
        if self._left:
            self._left = False
            self._tell()
            self._free()

    def _tell(self) -> None:
        self._held = tuple(
            Held(key.kind, key.name, entry.tier, entry.model.nbytes) for key, entry in self._entries.items()
        )
