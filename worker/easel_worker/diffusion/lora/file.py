"""LoRA files, read once and remembered by their bytes."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from easel_worker.diffusion.embeddings import StoredEmbedding
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.libraries import safe_open
from easel_worker.diffusion.lora.bundled import parted
from easel_worker.diffusion.lora.changes import Change, Scaling, UnknownKindError, read_change
from easel_worker.diffusion.lora.keys import by_module, shorten
from easel_worker.diffusion.lora.kinds import size_of

PEFT = "lora_adapter_metadata"
"""Where a header has peft's configuration, as diffusers writes it."""


class NetworkError(JobError):
    """A LoRA or hypernetwork cannot be used: its file is broken or of an unknown kind, or it belongs to
    another family of models. The message names it."""


@dataclass(frozen=True, eq=False)
class LoraFile:
    """One file's content.

    modules: by the file's own names. unknown: tensors that mean nothing here. width: how many features the
    attention to the text was trained for, None where the file does not touch it; it tells the family.
    embeddings: textual inversions that it brings along.
    """

    modules: Mapping[str, Change]
    unknown: tuple[str, ...]
    width: int | None
    nbytes: int
    embeddings: tuple[StoredEmbedding, ...] = ()

    @property
    def kinds(self) -> frozenset[str]:
        """What the file consists of."""
        return frozenset(change.kind for change in self.modules.values())


class Sized(Protocol):
    """What a `Remembered` holds."""

    @property
    def nbytes(self) -> int: ...


S = TypeVar("S", bound=Sized)
Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp:
    """Changes when the file does. Raises `NetworkError` where it is gone."""
    try:
        stat = path.stat()
    except OSError as error:
        raise NetworkError(f"{path.name} cannot be read: {error.strerror or error}") from None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@dataclass
class Remembered(Generic[S]):
    """What was read from files, up to a number of bytes; what was used longest ago goes first. The newest
    stays in any case. Used by one thread."""

    max_bytes: int
    _entries: OrderedDict[Path, tuple[Stamp, S]] = field(default_factory=OrderedDict)

    def get(self, path: Path) -> S | None:
        """What was read from the file as it is now."""
        stamp, found = self._entries.get(path, (None, None))
        if found is None or stamp != stamp_of(path):
            return None
        self._entries.move_to_end(path)
        return found

    def put(self, path: Path, stamp: Stamp, content: S) -> S:
        self._entries[path] = (stamp, content)
        self._entries.move_to_end(path)
        while len(self._entries) > 1 and self.nbytes > self.max_bytes:
            self._entries.popitem(last=False)
        return content

    @property
    def nbytes(self) -> int:
        return sum(content.nbytes for _, content in self._entries.values())

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


def read_lora(path: Path, *, allow_pickle: bool = False) -> LoraFile:
    """Read a file. Tensors stay in memory, in their own number format.

    Raises:
        NetworkError: it cannot be read, is a pickle that is not allowed, or holds something else.
    """
    stored, metadata = read_tensors(path, allow_pickle=allow_pickle)
    tensors = {name: value for name, value in stored.items() if isinstance(value, torch.Tensor)}
    embeddings, others = parted(tensors, path.name)
    found, unknown = by_module(others)
    scaling = _Scalings(metadata)
    modules: dict[str, Change] = {}
    for name, parts in found.items():
        if parts.keys() <= {"weight"}:
            # A tensor called just so is a weight of something else.
            unknown += [f"{name}.{part}" for part in parts]
            continue
        try:
            modules[name] = read_change(parts, scaling.of(name))
        except UnknownKindError as error:
            raise NetworkError(f"{path.name}: {name[:120]}: {error}") from None
    if not modules:
        raise NetworkError(f"{path.name} is no LoRA; it holds {shorten(stored) or 'nothing'}")
    return LoraFile(modules, tuple(unknown), _width(modules), size_of(tensors), embeddings)


def read_tensors(path: Path, *, allow_pickle: bool) -> tuple[dict[str, Any], Mapping[str, str]]:
    """What a file holds, and the texts of its header. A pickle may hold more than tensors, and at its top.

    Raises:
        NetworkError: it cannot be read, or is a pickle and those are not allowed.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            with safe_open(str(path), framework="pt", device="cpu") as file:
                # Copies: a view of the mapped file would die with the process if that were overwritten.
                return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        if not allow_pickle:
            raise NetworkError(
                f"{path.name} is a pickle: set EASEL_ALLOW_PICKLE=true to load it (with torch's restricted"
                " reader), or convert it to .safetensors"
            )
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except NetworkError:
        raise
    except Exception as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise NetworkError(f"{path.name} cannot be read: {said}") from error
    if not isinstance(loaded, dict):
        raise NetworkError(f"{path.name} holds no table of tensors")
    inner = loaded.get("state_dict", loaded)
    return dict(inner) if isinstance(inner, dict) else {}, {}


class _Scalings:
    """peft's configuration in a header: alpha by part of the model, and by pattern of modules' names."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        try:
            said = json.loads(metadata.get(PEFT, "{}"))
        except (ValueError, RecursionError):
            said = {}
        self._said: dict[str, Any] = said if isinstance(said, dict) else {}

    def of(self, name: str) -> Scaling:
        if not self._said:
            return Scaling()
        part, _, inside = name.partition(".")
        patterns = self._said.get(f"{part}.alpha_pattern")
        alpha = self._said.get(f"{part}.lora_alpha")
        for pattern, own in patterns.items() if isinstance(patterns, dict) else ():
            if inside == pattern or inside.endswith(f".{pattern}"):
                alpha = own
        number = float(alpha) if isinstance(alpha, int | float) else None
        return Scaling(number, bool(self._said.get(f"{part}.use_rslora")))


def _width(modules: Mapping[str, Change]) -> int | None:
    for name, change in modules.items():
        plain = name.replace(".", "_").replace("_processor_", "_")
        if plain.endswith("attn2_to_k") and change.weight is not None and change.weight.size is not None:
            return change.weight.size[1]
    return None
