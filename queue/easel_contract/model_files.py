"""LoRAs and embeddings in the data directory: their names, and what their headers tell.

Only safetensors files are read: nothing in them is ever run. A header is read without the weights behind it.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 64 * 1024 * 1024
"""A larger header is a broken file; the format itself allows 100 MB."""


@dataclass(frozen=True)
class Header:
    """A safetensors file's header: each tensor's shape, and whatever texts its writer put there."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsFile:
    """One file. `name` is what a request calls it; `header` is None where it cannot be read."""

    name: str
    path: Path
    header: Header | None


def read_header(path: Path) -> Header:
    """The header of a safetensors file: 8 bytes of length, little-endian, and JSON.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is no safetensors file")
        raw = file.read(length)
    try:
        loaded = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name}: its header is not JSON") from None
    if len(raw) < length or not isinstance(loaded, dict):
        raise ValueError(f"{path.name}: its header is not whole")
    metadata = loaded.pop("__metadata__", None)
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return Header(
        shapes={name: shape for name, entry in loaded.items() if (shape := _shape(entry)) is not None},
        metadata={key: value for key, value in texts if isinstance(value, str)},
    )


def _shape(entry: object) -> tuple[int, ...] | None:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if isinstance(shape, list) and all(type(size) is int for size in shape):
        return tuple(shape)
    return None


class WeightsFolder:
    """The files of weights below one folder, its own folders included. Any thread may ask.

    `suffixes` are those that count; a file that is not safetensors has no header.

    Directories are read at every look, so that a file copied in a moment ago is found; a header is read again
    only when its file has changed.
    """

    def __init__(self, folder: Path, suffixes: tuple[str, ...] = (SUFFIX,)) -> None:
        self.folder = folder
        self.suffixes = suffixes
        self._lock = threading.Lock()
        self._headers: dict[tuple[Path, int, int], Header | None] = {}

    def files(self) -> list[WeightsFile]:
        """All files by name (their stem), sorted. Of two with one name the first that can be read counts."""
        found: dict[str, WeightsFile] = {}
        for file in self.every():
            if file.name not in found or found[file.name].header is None:
                found[file.name] = file
        return sorted(found.values(), key=lambda file: file.name.casefold())

    def every(self) -> list[WeightsFile]:
        """All files, sorted by path."""
        found: list[WeightsFile] = []
        seen: dict[tuple[Path, int, int], Header | None] = {}
        for path in sorted(self._paths()):
            try:
                stat = path.stat()
            except OSError:
                continue  # removed a moment ago, or a link that leads nowhere
            key = (path, stat.st_mtime_ns, stat.st_size)
            with self._lock:
                known = key in self._headers
                header = self._headers.get(key)
            seen[key] = header = header if known else _header(path)
            found.append(WeightsFile(path.stem, path, header))
        with self._lock:
            self._headers = seen
        return found

    def _paths(self) -> Iterator[Path]:
        for path in self.folder.glob("**/*"):
            if path.suffix.lower() in self.suffixes and not path.name.startswith("."):
                yield path


def _header(path: Path) -> Header | None:
    if path.suffix.lower() != SUFFIX:
        return None
    try:
        return read_header(path)
    except (OSError, ValueError):
        return None


def lora_alias(file: WeightsFile) -> str:
    """The name that its trainer gave a LoRA, else its file's."""
    given = file.header.metadata.get("ss_output_name") if file.header else None
    return given or file.name


def lora_metadata(file: WeightsFile) -> dict[str, Any]:
    """A LoRA's metadata: values that are JSON objects are read, pictures for covers are left out."""
    metadata: dict[str, Any] = {}
    for key, value in (file.header.metadata if file.header else {}).items():
        if key == "ssmd_cover_images":
            continue
        metadata[key] = value
        if value.startswith("{"):
            try:
                metadata[key] = json.loads(value, parse_constant=str)  # NaN is no JSON for those who read it
            except (ValueError, RecursionError):
                continue
    return metadata


def embedding_size(header: Header) -> tuple[int, int] | None:
    """Width and number of an embedding's vectors; None where the file holds something else.

    The width tells the kind of model: 768 for SD1, 1024 for SD2, and 2048 (768 and 1280) for SDXL, whose
    files have a tensor for each of the two encoders.
    """
    shapes = header.shapes
    if "clip_l" in shapes and "clip_g" in shapes:
        parts = [shapes["clip_l"], shapes["clip_g"]]
    else:
        parts = [shapes["emb_params"]] if "emb_params" in shapes else list(shapes.values())[:1]
    sizes = [shape if len(shape) == 2 else (1, *shape) for shape in parts]
    if not sizes or any(len(size) != 2 for size in sizes) or len(shapes) > 8:
        return None
    return sum(size[1] for size in sizes), sizes[-1][0]
