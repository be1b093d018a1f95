"""The models that units need, through the worker's cache. Lives on the torch thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from easel_contract.controlnet import ControlFile
from easel_contract.errors import ContractError
from easel_worker.diffusion.attention.clip_vision import ClipVision, load_clip_vision
from easel_worker.diffusion.attention.ip_adapter import IPAdapter, load_ip_adapter
from easel_worker.diffusion.control import ControlModel, find_kind, load_control
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.generation.control.eyes import require_eyes
from easel_worker.generation.control.kinds import Kind, check_kind
from easel_worker.models.cache import Cacheable, Key
from easel_worker.models.loader import ModelLoader, expected_nbytes

log = logging.getLogger(__name__)

CONTROLNET = "controlnet"
IP_ADAPTER = "ip-adapter"
CLIP_VISION = "clip vision"
KINDS = frozenset({CONTROLNET, IP_ADAPTER, CLIP_VISION})
"""What the cache calls them."""

M = TypeVar("M", bound=Cacheable)


class ControlModels:
    """Control networks, IP-Adapters and CLIP's image encoders.

    Args:
        models: The folder ``models/``.
        loader: Its cache, device and number format are used.
        keep: How many of these models stay when a task is over (option `control_net_model_cache_size`); what
            the running task uses is never thrown out.
    """

    def __init__(self, models: Path, loader: ModelLoader, *, allow_pickle: bool, keep: int) -> None:
        self._models = models
        self._loader = loader
        self._allow_pickle = allow_pickle
        self._keep = keep

    def network(self, file: ControlFile, field: str) -> ControlModel:
        """A network that follows a map.

        Raises:
            ContractError: 422: the file is an IP-Adapter, gone, or cannot be used.
        """

        def load() -> ControlModel:
            # While it is loaded: a pickle tells its kind only when all of it is read.
            return load_control(
                file.path,
                device=self._loader.device,
                dtype=self._loader.dtype,
                allow_pickle=self._allow_pickle,
                check=lambda kind: check_kind(kind, Kind.MAP, name=file.name, field=field),
            )

        return self._get(CONTROLNET, file.stem, file.path, load, field)

    def adapter(self, file: ControlFile, field: str) -> IPAdapter:
        """An IP-Adapter. Raises as `network`."""

        def load() -> IPAdapter:
            return load_ip_adapter(
                file.path,
                device=self._loader.device,
                dtype=self._loader.dtype,
                allow_pickle=self._allow_pickle,
                check=lambda shapes: check_kind(
                    find_kind(shapes), Kind.IMAGE_PROMPT, name=file.name, field=field
                ),
            )

        return self._get(IP_ADAPTER, file.stem, file.path, load, field)

    def eyes(self, name: str, field: str) -> ClipVision:
        """An image encoder, ``clip_h`` or ``clip_g``. Raises ContractError, its file is missing or broken."""
        path = require_eyes(self._models, name, allow_pickle=self._allow_pickle, field=field)

        def load() -> ClipVision:
            return load_clip_vision(
                path, device=self._loader.device, dtype=self._loader.dtype, allow_pickle=self._allow_pickle
            )

        return self._get(CLIP_VISION, name, path, load, field)

    def _get(self, kind: str, name: str, path: Path, load: Callable[[], M], field: str) -> M:
        cache = self._loader.cache
        try:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            stamp = _stamp(files)
        except OSError as error:  # gone since the task was prepared
            raise ContractError(
                f"{name} cannot be read: {error.strerror or error}", field=field, kind="missing_file"
            ) from None
        weights = [file for file in files if file.suffix != ".json"]
        try:
            found = cache.get(
                Key(kind, name, path, stamp),
                load,
                expected=lambda: expected_nbytes(weights, self._loader.dtype),
            )
        except CheckpointError as error:
            raise ContractError(str(error), field=field, kind="broken_file") from error
        cache.keep_newest(KINDS, self._keep)
        return found


def _stamp(files: list[Path]) -> Hashable:
    """Changes when one of the files does."""
    return tuple((file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)
