"""Textual inversion (Gal et al. 2022): learned vectors that stand for a name in the prompt.

Files lie in the data directory's ``embeddings/``; the name is the file's without its ending. A name is
matched on token ids, so letter case does not matter, and a name is found inside a word where its tokens are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import torch

from easel_worker.diffusion.chunks import CHUNK_TOKENS
from easel_worker.diffusion.libraries import load_file
from easel_worker.diffusion.text_encoders import TextEncoder

SUFFIXES = (".safetensors", ".pt", ".bin")
_PICKLES = (".pt", ".bin")
_MAX_BYTES = 256 * 1024**2
# The tensor of a file for models with one encoder, whatever the file calls it.
_ONLY = "clip"

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Embedding:
    """One embedding, fit for a checkpoint's encoders.

    vectors: float32, (count, width), by the encoder's role. sha256: of the file, or of the vectors where they
    are a part of one; 64 hex digits.
    """

    name: str
    vectors: Mapping[str, torch.Tensor]
    sha256: str

    @property
    def count(self) -> int:
        """How many tokens it takes the place of."""
        return len(next(iter(self.vectors.values())))

    @property
    def short_hash(self) -> str:
        """What the infotext's ``TI hashes`` shows."""
        return self.sha256[:12]


@dataclass(frozen=True, eq=False)
class StoredEmbedding:
    """An embedding as it is stored, for whichever checkpoint. name: by which prompts mean it. place: where it
    is. content: its vectors by encoder, or why it has none."""

    name: str
    place: str
    content: _Content


class EmbeddingTable:
    """The embeddings that one checkpoint can use, and why it cannot use the others."""

    def __init__(
        self, loaded: Mapping[str, Embedding], skipped: Mapping[str, str], ids: Mapping[str, Sequence[int]]
    ) -> None:
        self.loaded = dict(loaded)
        self.skipped = dict(skipped)
        self._by_first: dict[int, list[tuple[list[int], Embedding]]] = {}
        for name, embedding in self.loaded.items():
            self._by_first.setdefault(ids[name][0], []).append((list(ids[name]), embedding))
        for found in self._by_first.values():
            found.sort(key=lambda entry: len(entry[0]), reverse=True)

        names = sorted((name, embedding.sha256) for name, embedding in self.loaded.items())
        self.version = hashlib.sha256(repr(names).encode()).hexdigest() if names else ""
        """Differs where the same prompt could be encoded differently; empty without embeddings."""

    def find(self, ids: Sequence[int], place: int) -> tuple[Embedding, int] | None:
        """The embedding whose name's tokens begin at `place`, the longest name first; and how many."""
        for name, embedding in self._by_first.get(ids[place], ()):
            if list(ids[place : place + len(name)]) == name:
                return embedding, len(name)
        return None


class EmbeddingFolder:
    """The files of a directory, each read once per version. Used by the torch thread alone.

    allow_pickles: also read ``.pt`` and ``.bin``, with torch's unpickler that builds tensors only; otherwise
    they are skipped and say so.
    """

    def __init__(self, folder: Path, *, allow_pickles: bool = False) -> None:
        self._folder = folder
        self._allow_pickles = allow_pickles
        self._files: dict[Path, tuple[_Stamp, StoredEmbedding]] = {}
        self._newest: tuple[object, EmbeddingTable] | None = None

    def table(
        self, encoders: Sequence[TextEncoder], bundled: Sequence[StoredEmbedding] = ()
    ) -> EmbeddingTable:
        """Look at the directory, and tell which of its embeddings fit a checkpoint with these encoders.

        bundled: further ones, which win over files of the same name.
        """
        stored = [*bundled, *self._stored()]
        # Compared with the objects themselves, so that none of them can make way for another of the same id.
        key = (stored, [(e.role, e.width, e.tokenizer) for e in encoders])
        if self._newest is None or self._newest[0] != key:
            self._newest = (key, _table(stored, encoders))
        return self._newest[1]

    def named_in(self, texts: Iterable[str]) -> bool:
        """Whether any of the texts may name a file of the directory, whether it fits a checkpoint or not.
        Blanks do not count, as they do not always between tokens."""
        names = {"".join(stored.name.casefold().split()) for stored in self._stored()}
        return bool(names) and any(
            name in packed
            for packed in {"".join(text.casefold().split()) for text in texts}
            for name in names
        )

    def _stored(self) -> list[StoredEmbedding]:
        seen: dict[Path, tuple[_Stamp, StoredEmbedding]] = {}
        for path in sorted(self._folder.rglob("*")):
            if path.suffix.lower() not in SUFFIXES:
                continue
            try:
                stat = path.stat()
            except OSError:  # removed a moment ago, or a link to nowhere
                continue
            if not S_ISREG(stat.st_mode):
                continue
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            known = self._files.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, StoredEmbedding(path.stem, path.name, self._read(path, stat.st_size)))
            seen[path] = known
        self._files = seen
        return [stored for _, stored in seen.values()]

    def _read(self, path: Path, size: int) -> _Content:
        """The tensors of a file by encoder, or why there are none."""
        if size > _MAX_BYTES:
            return f"has {size} bytes, too many for an embedding"
        pickled = path.suffix.lower() in _PICKLES
        if pickled and not self._allow_pickles:
            return "is a pickle, which can run code when it is read; convert it to .safetensors"
        try:
            stored = _unpickle(path) if pickled else load_file(str(path))
            return _Vectors(_named(stored), hashlib.sha256(path.read_bytes()).hexdigest())
        except _NoEmbeddingError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the readers raise anything for a damaged file
            return (
                f"cannot be read: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
            )


@dataclass(frozen=True, eq=False)
class _Vectors:
    tensors: dict[str, torch.Tensor]
    sha256: str


_Content = _Vectors | str


class _NoEmbeddingError(Exception):
    pass


def stored_part(name: str, place: str, tensors: Mapping[str, torch.Tensor]) -> StoredEmbedding:
    """An embedding that is a part of a file.

    tensors: "clip_l" and "clip_g" for SDXL, "emb_params" or a single one of any name for others; (vectors,
    width).
    """
    try:
        vectors = _named(tensors)
    except _NoEmbeddingError as error:
        return StoredEmbedding(name, place, str(error))
    digest = hashlib.sha256()
    for key in sorted(vectors):
        digest.update(vectors[key].numpy().tobytes())
    return StoredEmbedding(name, place, _Vectors(vectors, digest.hexdigest()))


def _unpickle(path: Path) -> dict[str, Any]:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(stored, dict):
        raise _NoEmbeddingError("holds no table of tensors")
    # A1111's own format: {"string_to_param": {"*": vectors}, "name": …, "step": …}.
    inner = stored.get("string_to_param", stored)
    return dict(inner) if isinstance(inner, Mapping) else {}


def _named(stored: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The vectors by encoder: "clip_l" and "clip_g" of an SDXL file, or the only tensor as "clip"."""
    tensors = {key: value.detach() for key, value in stored.items() if isinstance(value, torch.Tensor)}
    if {"clip_l", "clip_g"} <= tensors.keys():
        found = {key: tensors[key] for key in ("clip_l", "clip_g")}
    elif "emb_params" in tensors:
        found = {_ONLY: tensors["emb_params"]}
    elif len(tensors) == 1:
        found = {_ONLY: next(iter(tensors.values()))}
    else:
        raise _NoEmbeddingError(f"holds {len(tensors)} tensors, none of them emb_params or clip_l and clip_g")
    vectors = {
        key: (tensor[None] if tensor.ndim == 1 else tensor).float().contiguous().clone()
        for key, tensor in found.items()
    }
    for key, tensor in vectors.items():
        if tensor.ndim != 2 or not tensor.numel():
            raise _NoEmbeddingError(f"{key} has shape {tuple(tensor.shape)}, not (vectors, width)")
        if not bool(torch.isfinite(tensor).all()):
            raise _NoEmbeddingError(f"{key} has values that are not finite")
    counts = {len(tensor) for tensor in vectors.values()}
    if len(counts) > 1 or max(counts) > CHUNK_TOKENS:
        raise _NoEmbeddingError(f"has {max(counts)} vectors; a chunk holds {CHUNK_TOKENS}")
    return vectors


def _table(every: Sequence[StoredEmbedding], encoders: Sequence[TextEncoder]) -> EmbeddingTable:
    loaded: dict[str, Embedding] = {}
    skipped: dict[str, str] = {}
    for stored in every:
        if stored.name in loaded:
            skipped[stored.place] = "another has the same name"
            continue
        content = stored.content
        fitted = content if isinstance(content, str) else _fit(stored.name, content, encoders)
        if isinstance(fitted, str):
            skipped[stored.name] = fitted
        else:
            loaded[stored.name] = fitted
            skipped.pop(stored.name, None)
    names = list(loaded)
    ids = dict(zip(names, encoders[0].tokenize(names), strict=True)) if names else {}
    for name in names:
        if not ids[name]:
            del loaded[name]
            skipped[name] = "has a name without tokens; give it one with letters"
    return EmbeddingTable(loaded, skipped, ids)


def _fit(name: str, content: _Vectors, encoders: Sequence[TextEncoder]) -> Embedding | str:
    has = " and ".join(str(tensor.shape[1]) for tensor in content.tensors.values())
    wants = " and ".join(str(encoder.width) for encoder in encoders)
    widths = {role: tensor.shape[1] for role, tensor in content.tensors.items()}
    if widths != {encoder.role: encoder.width for encoder in encoders}:
        return f"has vectors of {has} numbers; this model's text encoder takes {wants}"
    return Embedding(name, content.tensors, content.sha256)
