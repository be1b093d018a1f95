"""How many bytes of models a memory may hold, and how much of it is free."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

_CGROUP = Path("/sys/fs/cgroup")


class Budget(Protocol):
    """The size of a tier."""

    def room(self, used: int) -> int:
        """Bytes that may be added to the `used` ones; negative where so many have to go."""


@dataclass(frozen=True)
class Fixed:
    """At most `limit` bytes of models."""

    limit: int

    def room(self, used: int) -> int:
        return self.limit - used


@dataclass(frozen=True)
class Reserve:
    """As many models as fit while `reserved` bytes stay free for all else. free: asked at each look, because
    other processes use the memory too."""

    reserved: int
    free: Callable[[], int]

    def room(self, used: int) -> int:
        return self.free() - self.reserved


@dataclass(frozen=True)
class Least:
    """What all of several budgets allow."""

    budgets: tuple[Budget, ...]

    def room(self, used: int) -> int:
        return min(budget.room(used) for budget in self.budgets)


def free_ram(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of RAM that this process can still have: of the machine, and of its container if that is less.

    Files that the kernel keeps in memory count as free: it gives them up. Where the system does not tell,
    half of its memory.
    """
    free = _available(meminfo)
    limit, current = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is None or current is None:
        return free
    return min(free, limit - current + _inactive_files(cgroup / "memory.stat"))


def free_on_device(device: torch.device) -> int:
    """Bytes of a CUDA device that models can have: those free, and those that torch holds without use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _available(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _inactive_files(stat: Path) -> int:
    try:
        for line in stat.read_text(encoding="ascii").splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0
