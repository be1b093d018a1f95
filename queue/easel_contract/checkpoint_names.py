"""How a client may spell a checkpoint's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from easel_contract.checkpoint_files import ModelFile

_TITLE_HASH = re.compile(r"\s*\[[0-9a-f]{4,64}\]\Z")
_SUFFIX = re.compile(r"\.(safetensors|ckpt|pt|bin)\Z", re.IGNORECASE)
_HASH = re.compile(r"(?:[0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{64})\Z", re.IGNORECASE)


def match_name(models: Mapping[str, ModelFile], name: str) -> ModelFile | None:
    """The model that a spelling fits, by A1111's rules.

    Tried in this order, each in any letter case: the name; the same without a trailing ``[hash]``; and
    without ``.safetensors`` or ``.ckpt``. For each: the model's own name, its file's name with sub-folder,
    its last part, A1111's ``folder_file``. A spelling that fits two is no match.
    """
    bare = _TITLE_HASH.sub("", name)
    for spelling in dict.fromkeys((name, bare, _SUFFIX.sub("", bare))):
        if spelling in models:
            return models[spelling]
        for spelled in (_own, _file, _last, _flat):
            for fold in (str, str.casefold):
                fits = [model for model in models.values() if fold(spelling) in map(fold, spelled(model))]
                if len(fits) == 1:
                    return fits[0]
                if fits:
                    break
    return None


def is_hash(name: str) -> bool:
    """Whether a spelling may be a hash: 8, 10 or 64 hex digits."""
    return _HASH.match(name) is not None


def match_hash(
    models: Iterable[ModelFile],
    digits: str,
    sha256: Callable[[ModelFile], str],
    old: Callable[[ModelFile], str],
) -> ModelFile | None:
    """The first model with this hash: SHA-256, its first 10 digits, or A1111's old 8."""
    wanted = digits.lower()
    found = old if len(wanted) == 8 else sha256
    return next((model for model in models if found(model)[: len(wanted)] == wanted), None)


def _own(model: ModelFile) -> tuple[str, ...]:
    return (model.name,)


def _file(model: ModelFile) -> tuple[str, ...]:
    return (model.file_name,) if model.file_name else ()


def _last(model: ModelFile) -> tuple[str, ...]:
    return model.path.name, model.stem


def _flat(model: ModelFile) -> tuple[str, ...]:
    return (model.name.replace("/", "_"),)
