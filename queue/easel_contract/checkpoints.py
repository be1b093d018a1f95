"""The checkpoints in the model directory, and how a client may spell their names."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from easel_contract.errors import ContractError

INDEX = "model_index.json"
"""The file that makes a folder a diffusers checkpoint."""

STARTER = "easel-shapes"
"""The model that ships with Easel: it stands in only until somebody brings another."""

MAX_NAMED = 20
"""Names that an error message lists; a directory may hold hundreds."""

_HASH = re.compile(r"\s*\[[0-9a-f]{4,64}\]\Z")
_SUFFIX = re.compile(r"\.(safetensors|ckpt|pt|bin)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class ModelFile:
    """One checkpoint on disk. `stamp` changes when the folder is replaced or its index rewritten."""

    name: str
    path: Path
    stamp: tuple[int, int]


class Library:
    """Checkpoints below `folder`: one diffusers folder each. Any thread may ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._models: dict[str, ModelFile] = {}
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def names(self, *, fresh: bool = True) -> tuple[str, ...]:
        """All names, sorted. Not `fresh`: without what was changed inside a folder since the last look."""
        return tuple(self._scan(force=fresh))

    def models(self) -> tuple[ModelFile, ...]:
        """All checkpoints, sorted by name."""
        return tuple(self._scan(force=True).values())

    def default(self, setting: str = "", *, fresh: bool = True) -> str:
        """The checkpoint of requests and options that name none: the operator's choice (`setting`), else the
        first by name, the starter model last. `fresh` as in `names`.

        Raises:
            ContractError: 422, the model directory is empty.
        """
        if setting:
            return setting
        names = self.names(fresh=fresh)
        if not names:
            raise ContractError("no checkpoint in models/Stable-diffusion", field="sd_model_checkpoint")
        return min(names, key=lambda name: (name == STARTER, name))

    def resolve(self, name: str) -> ModelFile:
        """The checkpoint that a client means by `name`.

        Tried in this order: the folder's name; the same without a trailing ``[hash]`` and without
        ``.safetensors`` or ``.ckpt``; each in any letter case. A spelling that fits two is no match.

        Raises:
            ContractError: 422, names the checkpoints there are.
        """
        for force in (False, True):  # a folder copied in a moment ago must be found
            models = self._scan(force=force)
            found = _match(models, name.strip())
            if found is not None and (found.path / INDEX).is_file():
                return found
        known = ", ".join(list(models)[:MAX_NAMED]) or "none"
        more = f" and {len(models) - MAX_NAMED} more" if len(models) > MAX_NAMED else ""
        raise ContractError(
            f"no checkpoint {name[:200]!r} in models/Stable-diffusion; there are: {known}{more}",
            field="sd_model_checkpoint",
        )

    def canonical(self, name: str) -> str:
        """The name of the checkpoint that a client means, or `name` itself when none is known that fits.

        Cheap enough for every request: the directory is read again only when it has changed. What was changed
        inside a folder meanwhile may be missed, so this is for a comparison, not for a refusal.
        """
        found = _match(self._scan(force=False), name.strip())
        return found.name if found else name

    def sha256(self, model: ModelFile, *, at_most: int | None = None) -> str:
        """SHA-256 of the UNet's weights, the part that makes the picture: 64 hex digits.

        A1111 hashes its one file; a diffusers folder has none, so the numbers do not compare.
        Read once per file version (about 1.5 s for 2 GB). Empty when there are no weights, and when they have
        more than `at_most` bytes and nobody asked for their hash before.
        """
        weights = sorted((model.path / "unet").glob("*.safetensors"))
        if not weights:
            return ""
        stat = weights[0].stat()
        key = (weights[0], stat.st_mtime_ns, stat.st_size)
        if key not in self._hashes:
            if at_most is not None and sum(path.stat().st_size for path in weights) > at_most:
                return ""
            digest = hashlib.sha256()
            for path in weights:
                with path.open("rb") as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
            self._hashes[key] = digest.hexdigest()
        return self._hashes[key]

    def short_hash(self, model: ModelFile) -> str:
        """The first 10 digits of `sha256`, as infotexts and titles have them."""
        return self.sha256(model)[:10]

    def _scan(self, *, force: bool) -> dict[str, ModelFile]:
        with self._lock:
            try:
                changed = self.folder.stat().st_mtime_ns
            except OSError:
                self._seen, self._models = None, {}
                return {}
            if force or changed != self._seen:
                self._models = {
                    path.parent.name: ModelFile(path.parent.name, path.parent, _stamp(path))
                    for path in sorted(self.folder.glob(f"[!.]*/{INDEX}"))
                }
                self._seen = changed
            return dict(self._models)


def _stamp(index: Path) -> tuple[int, int]:
    stat = index.stat()
    return stat.st_mtime_ns, stat.st_ino


def _match(models: dict[str, ModelFile], name: str) -> ModelFile | None:
    bare = _HASH.sub("", name)
    for spelling in (name, bare, _SUFFIX.sub("", bare)):
        if spelling in models:
            return models[spelling]
        fits = [model for known, model in models.items() if known.casefold() == spelling.casefold()]
        if len(fits) == 1:
            return fits[0]
    return None
