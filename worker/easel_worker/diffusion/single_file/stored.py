"""The weights in a file, read one by one, mapped instead of loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from zipfile import is_zipfile

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import safe_open
from easel_worker.diffusion.placing import place

Shapes = Mapping[str, tuple[int, ...]]
TOLD = "easel.config"
"""In a header: JSON of what no weight's shape tells, where it is not the family's."""
TELLABLE = {
    "unet": ("attention_head_dim", "norm_num_groups"),
    "vae": ("norm_num_groups",),
    "text_encoder": ("num_attention_heads",),
    "text_encoder_2": ("num_attention_heads",),
}
"""The entries of that JSON: fields of the modules' configurations, each an integer."""


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


@dataclass(frozen=True)
class Source:
    """Where a module's weight is: the name in the file, and what part or form of it."""

    name: str
    take: Callable[[torch.Tensor], torch.Tensor] = _as_it_is


class Reader(Protocol):
    """Gives a tensor by name."""

    def get_tensor(self, name: str) -> torch.Tensor: ...


class StoredWeights:
    """An open file. `shapes` by name; `metadata` is its header's, empty for pickles."""

    def __init__(self, reader: Reader, shapes: Shapes, metadata: Mapping[str, str], close: Any) -> None:
        self.shapes = shapes
        self.metadata = metadata
        self._reader = reader
        self._close = close
        self._last: tuple[str, torch.Tensor] | None = None

    def __enter__(self) -> StoredWeights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last = None
        self._close(kind, error, trace)

    def read(self, source: Source, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A weight in a place of its own, see `place`."""
        # Fused attention matrices are asked for three times in turn.
        if self._last is None or self._last[0] != source.name:
            self._last = source.name, self._reader.get_tensor(source.name)
        taken = source.take(self._last[1])
        return place(taken, dtype=dtype, device=device)

    def told(self) -> dict[str, dict[str, int]]:
        """What the header says under `TOLD`; what is not in `TELLABLE` is ignored."""
        try:
            said = json.loads(self.metadata.get(TOLD, "{}"))
        except (ValueError, RecursionError):
            return {}
        if not isinstance(said, dict):
            return {}
        return {
            part: {
                key: value
                for key, value in values.items()
                if key in TELLABLE[part] and type(value) is int and value > 0
            }
            for part, values in said.items()
            if part in TELLABLE and isinstance(values, dict)
        }


def open_weights(path: Path, device: torch.device, *, allow_pickle: bool = False) -> StoredWeights:
    """Open a file for reading its weights to `device`.

    Raises:
        CheckpointError: it cannot be read, or is a pickle and `allow_pickle` is not set.
    """
    if path.suffix.lower() == ".safetensors":
        return _open_safetensors(path, device)
    if not allow_pickle:
        raise CheckpointError(
            f"{path} is a pickle: set EASEL_ALLOW_PICKLE=true to load it (with torch's restricted reader), or"
            " convert it to .safetensors"
        )
    return _open_pickle(path)


def _open_safetensors(path: Path, device: torch.device) -> StoredWeights:
    try:
        opened: Any = safe_open(str(path), framework="pt", device=str(device))
        file = opened.__enter__()
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return StoredWeights(file, shapes, file.metadata() or {}, opened.__exit__)
    except Exception as error:  # safetensors raises its own and the file system's errors
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


class _Loaded:
    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def get_tensor(self, name: str) -> torch.Tensor:
        return self._tensors[name]


def _open_pickle(path: Path) -> StoredWeights:
    try:
        # What torch wrote before 1.6 is no zip archive, and cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # torch and pickle raise anything
        raise CheckpointError(f"{path} cannot be read with torch's restricted reader: {error}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    tensors = dict(_named_tensors(state))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return StoredWeights(_Loaded(tensors), shapes, {}, lambda *_: None)


def _named_tensors(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """What is in a dict, and in dicts inside it (as IP-Adapters are published) by dotted names."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, dict) and not prefix:
            yield from _named_tensors(value, f"{name}.")
