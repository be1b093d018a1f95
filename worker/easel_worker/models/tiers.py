"""The cache that the operator's settings ask for."""

from __future__ import annotations

from functools import partial

import torch

from easel_worker.diffusion.memory import free_memory
from easel_worker.models.budget import Budget, Fixed, Least, Reserve, free_on_device, free_ram
from easel_worker.models.cache import ModelCache
from easel_worker.settings import WorkerSettings

GB = 10**9


def cache_of(settings: WorkerSettings, device: torch.device) -> ModelCache:
    """A cache for models on `device`, and in RAM beside it.

    Without `EASEL_SD_DYNAMIC_CACHE` only the checkpoint used last is kept, and nothing moves to RAM.
    """
    dynamic = settings.sd_dynamic_cache
    in_ram: Budget = _least(settings.ram_cache_gb, Reserve(int(settings.min_ram_reserved * GB), free_ram))
    on_device: Budget = in_ram
    if device.type != "cpu":
        reserved = int(settings.device_reserved_gb * GB)
        on_device = _least(settings.device_cache_gb, Reserve(reserved, partial(free_on_device, device)))
        in_ram = in_ram if dynamic else Fixed(0)
    return ModelCache(
        device,
        on_device=on_device,
        in_ram=in_ram,
        free=partial(free_memory, device),
        checkpoints=settings.checkpoint_cache if dynamic else 1,
    )


def _least(limit_gb: float, measured: Budget) -> Budget:
    return Least((Fixed(int(limit_gb * GB)), measured)) if limit_gb else measured
