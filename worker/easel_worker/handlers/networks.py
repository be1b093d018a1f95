"""Networks beside the checkpoints: upscalers, face restorers, preprocessors, and what describes pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from easel_worker.annotators import Annotators
from easel_worker.faces.restorers import FaceRestorers
from easel_worker.failure import Failure, failure_of
from easel_worker.interrogate import Interrogator
from easel_worker.models.shelf import CacheShelf
from easel_worker.settings import WorkerSettings
from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.upscalers import Upscalers

if TYPE_CHECKING:
    import torch

    from easel_worker.models.cache import ModelCache
    from easel_worker.upscaling.network import Network


@dataclass(frozen=True)
class Placed:
    """Where networks go."""

    device: torch.device
    dtype: torch.dtype


class Networks:
    """Loads networks on first use, into the worker's cache. Lives on the torch thread, but for `faces.check`
    and what `annotators` may do elsewhere.

    torch is imported with the first of them: pictures can be enlarged with a filter without it. Handlers take
    `shared_networks` their settings instead of making one each.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        models = settings.data_dir / "models"
        pickles = settings.allow_pickle
        shelf = CacheShelf(lambda: self.cache)
        self.upscalers = Upscalers(models, self._load, shelf=shelf)
        self.faces = FaceRestorers(models, self._device, allow_pickle=pickles, shelf=shelf)
        self.interrogator = Interrogator(models, self._device, shelf=shelf)
        self.annotators = Annotators(models, self._device, allow_pickle=pickles, shelf=shelf)

    @cached_property
    def placed(self) -> Placed:
        """The worker's device and number format."""
        from easel_worker.diffusion.device import pick_device, pick_dtype

        device = pick_device(self._settings.device)
        return Placed(device, pick_dtype(device, self._settings.dtype))

    @cached_property
    def cache(self) -> ModelCache:
        """What the worker's handlers keep in memory, checkpoints included."""
        from easel_worker.models.tiers import cache_of

        return cache_of(self._settings, self.placed.device)

    @contextmanager
    def job(self) -> Iterator[None]:
        """Around a task: the networks that it uses stay loaded until its end."""
        with self.cache.job():
            yield

    def explain(self, error: Exception) -> Failure:
        """What the client is told: a file that cannot be used would be found so again."""
        from easel_worker.diffusion.memory import is_out_of_memory

        if is_out_of_memory(error):
            return Failure(
                500, "out of memory: send a smaller picture", "OutOfMemoryError", out_of_memory=True
            )
        if isinstance(error, WeightsError):
            return Failure(500, str(error), type(error).__name__, retry=False)
        return failure_of(error)

    def free_memory(self) -> None:
        """Forget what is loaded, but for checkpoints and what goes with them."""
        from easel_worker.diffusion.memory import free_memory

        self.upscalers.unload()
        self.faces.unload()
        self.interrogator.unload()
        self.annotators.unload()
        free_memory(self.placed.device)

    def _device(self) -> torch.device:
        return self.placed.device

    def _load(self, path: Path) -> Network:
        from easel_worker.upscaling.network import load_network

        return load_network(
            path,
            device=self.placed.device,
            dtype=self.placed.dtype,
            allow_pickle=self._settings.allow_pickle,
        )


# By the settings' identity, which stays theirs: networks keep the settings that they were made for.
_of_settings: WeakValueDictionary[int, Networks] = WeakValueDictionary()


def shared_networks(settings: WorkerSettings) -> Networks:
    """The networks of the worker with these settings: its handlers share them, so none is loaded twice."""
    return _of_settings.setdefault(id(settings), Networks(settings))
