"""The models that units need, loaded. Lives on the torch thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

import torch

from easel_contract.controlnet import ControlFile
from easel_worker.diffusion.attention.clip_vision import ClipVision, load_clip_vision
from easel_worker.diffusion.attention.ip_adapter import IPAdapter, load_ip_adapter
from easel_worker.diffusion.control import ControlModel, file_kind, load_control
from easel_worker.generation.control.eyes import require_eyes
from easel_worker.generation.control.kinds import Kind
from easel_worker.generation.control.planning import check_kind

M = TypeVar("M")


class ControlModels:
    """Control networks, IP-Adapters and CLIP's image encoders, those used last kept.

    Args:
        models: The folder ``models/``.
        free: Called when something was thrown out.
    """

    def __init__(
        self,
        models: Path,
        device: torch.device,
        dtype: torch.dtype,
        *,
        allow_pickle: bool,
        free: Callable[[], None],
    ) -> None:
        self._models = models
        self._device = device
        self._dtype = dtype
        self._allow_pickle = allow_pickle
        self._free = free
        self._loaded: OrderedDict[tuple[Path, Hashable], Any] = OrderedDict()
        self._limit = 2

    def limit(self, count: int) -> None:
        """How many models stay (option `control_net_model_cache_size`)."""
        self._limit = count

    def network(self, file: ControlFile, field: str) -> ControlModel:
        """A network that follows a map.

        Raises:
            ContractError: the file is an IP-Adapter.
            CheckpointError: it cannot be used.
        """

        def load() -> ControlModel:
            self._check(file, Kind.MAP, field)
            return load_control(
                file.path, device=self._device, dtype=self._dtype, allow_pickle=self._allow_pickle
            )

        return self._get(file.path, load)

    def adapter(self, file: ControlFile, field: str) -> IPAdapter:
        """An IP-Adapter. Raises as `network`."""

        def load() -> IPAdapter:
            self._check(file, Kind.IMAGE_PROMPT, field)
            return load_ip_adapter(
                file.path, device=self._device, dtype=self._dtype, allow_pickle=self._allow_pickle
            )

        return self._get(file.path, load)

    def eyes(self, name: str, field: str) -> ClipVision:
        """An image encoder, ``clip_h`` or ``clip_g``. Raises ContractError where its file is missing."""
        path = require_eyes(self._models, name, field=field)
        return self._get(
            path,
            lambda: load_clip_vision(
                path, device=self._device, dtype=self._dtype, allow_pickle=self._allow_pickle
            ),
        )

    def clear(self) -> None:
        """Keep none."""
        self._loaded.clear()

    def _check(self, file: ControlFile, kind: Kind, field: str) -> None:
        check_kind(file_kind(file.path, allow_pickle=self._allow_pickle), file, kind, field)

    def _get(self, path: Path, load: Callable[[], M]) -> M:
        key = (path, _stamp(path))
        if key not in self._loaded:
            for stale in [other for other in self._loaded if other[0] == path]:
                del self._loaded[stale]
            thrown_out = False
            while len(self._loaded) >= self._limit:
                self._loaded.popitem(last=False)
                thrown_out = True
            if thrown_out:
                self._free()
            with torch.inference_mode(mode=False):
                self._loaded[key] = load()
        self._loaded.move_to_end(key)
        found: M = self._loaded[key]
        return found


def _stamp(path: Path) -> Hashable:
    """Changes when a file, or one of a folder's, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
