"""The checkpoints in the model directory, and which one a client means."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

from easel_contract.checkpoint_files import INDEX, ModelFile, find_models
from easel_contract.checkpoint_names import is_hash, match_hash, match_name
from easel_contract.errors import ContractError
from easel_contract.hashes import HashBook

__all__ = ["INDEX", "MAX_NAMED", "STARTER", "Library", "ModelFile"]

STARTER = "easel-shapes"
"""The model that ships with Easel: it stands in only until somebody brings another."""

MAX_NAMED = 20
"""Names that an error message lists; a directory may hold hundreds."""


class Library:
    """Checkpoints below `folder`: diffusers folders and single files, in sub-folders too. Any thread may ask.

    hashes: a file that processes share, so that each checkpoint is read for its hash only once.
    """

    def __init__(self, folder: Path, *, hashes: Path | None = None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._models: dict[str, ModelFile] = {}
        self.hashes = HashBook(hashes)
        """May be asked for other models' hashes too: the book is by path."""

    def names(self, *, fresh: bool = True) -> tuple[str, ...]:
        """All names, sorted. Not `fresh`: without what was changed inside a folder since the last look."""
        return tuple(self._scan(force=fresh))

    def models(self) -> tuple[ModelFile, ...]:
        """All checkpoints, sorted by name."""
        return tuple(self._scan(force=True).values())

    def default(self, setting: str = "", *, fresh: bool = True) -> str:
        """The checkpoint of requests and options that name none: the operator's choice (`setting`), else the
        first by name, the starter model after those and pickles last. `fresh` as in `names`.

        Raises:
            ContractError: 422, the model directory is empty.
        """
        if setting:
            return setting
        models = self._scan(force=fresh).values()
        if not models:
            raise ContractError("no checkpoint in models/Stable-diffusion", field="sd_model_checkpoint")
        return min(models, key=lambda model: (model.is_pickle, model.name == STARTER, model.name)).name

    def resolve(self, name: str) -> ModelFile:
        """The checkpoint that a client means by `name`: see `match_name`; else its hash, for which files that
        have none yet are read.

        Raises:
            ContractError: 422, names the checkpoints there are.
        """
        asked = name.strip()
        for force in (False, True):  # a file copied in a moment ago must be found
            models = self._scan(force=force)
            found = self._match(models, asked)
            # The directory does not change by what is written inside a folder or over a file.
            now = found.as_it_is_now() if found is not None else None
            if now is not None:
                return now
        if is_hash(asked):
            found = match_hash(models.values(), asked, self.sha256, self._old)
            if found is not None:
                return found
        known = ", ".join(list(models)[:MAX_NAMED]) or "none"
        more = f" and {len(models) - MAX_NAMED} more" if len(models) > MAX_NAMED else ""
        raise ContractError(
            f"no checkpoint {name[:200]!r} in models/Stable-diffusion; there are: {known}{more}",
            field="sd_model_checkpoint",
        )

    def canonical(self, name: str) -> str:
        """The name of the checkpoint that a client means, or `name` itself when none is known that fits.

        Cheap enough for every request: the directory is read again only when it has changed, and nothing for
        its hash. What was changed inside a folder meanwhile may be missed, so this is for a comparison, not
        for a refusal.
        """
        found = self._match(self._scan(force=False), name.strip())
        return found.name if found else name

    def sha256(self, model: ModelFile, *, at_most: int | None = None) -> str:
        """SHA-256 of a single file, as A1111 has it; of a folder, of its UNet's weights, which no other
        program compares. 64 hex digits.

        Read once per version. Empty when there are no weights, and when they have more than `at_most` bytes
        and nobody asked for their hash before.
        """
        try:
            weights = _weights(model)
            if not weights:
                return ""
            if at_most is not None and sum(path.stat().st_size for path in weights) > at_most:
                return self.hashes.known(weights)
            return self.hashes.sha256(weights)
        except OSError:
            return ""  # removed a moment ago

    def hash_soon(self, model: ModelFile) -> Future[str]:
        """`sha256`, computed in the background: a large file takes seconds to read."""
        return self.hashes.soon(_weights(model))

    def short_hash(self, model: ModelFile) -> str:
        """The first 10 digits of `sha256`, as infotexts and titles have them."""
        return self.sha256(model)[:10]

    def _match(self, models: dict[str, ModelFile], asked: str) -> ModelFile | None:
        found = match_name(models, asked)
        if found is None and is_hash(asked):
            return match_hash(models.values(), asked, lambda model: self.sha256(model, at_most=-1), self._old)
        return found

    def _old(self, model: ModelFile) -> str:
        try:
            return self.hashes.old(model.path) if model.file_name else ""
        except OSError:
            return ""

    def _scan(self, *, force: bool) -> dict[str, ModelFile]:
        with self._lock:
            try:
                changed = self.folder.stat().st_mtime_ns
            except OSError:
                self._seen, self._models = None, {}
                return {}
            if force or changed != self._seen:
                self._models = find_models(self.folder)
                self._seen = changed
            return dict(self._models)


def _weights(model: ModelFile) -> list[Path]:
    return [model.path] if model.file_name else sorted((model.path / "unet").glob("*.safetensors"))
