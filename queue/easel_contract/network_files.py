"""The LoRAs and hypernetworks in the data directory, and which one a prompt means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from easel_contract.errors import ContractError
from easel_contract.hashes import HashBook
from easel_contract.model_files import SUFFIX, WeightsFile, WeightsFolder, lora_alias

Kind = Literal["lora", "hypernet"]

FOLDERS: Mapping[str, tuple[str, ...]] = {"lora": ("Lora", "LyCORIS"), "hypernet": ("hypernetworks",)}
"""Kind of tag -> folders below ``models/``. What one folder has is not looked for in those after it."""

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "lora": (SUFFIX, ".pt", ".ckpt"),
    "hypernet": (SUFFIX, ".pt"),
}
_NAMED_AT_MOST = 20

HASH_DIGITS = 12
"""Of a network's hash, in infotexts and lists."""


@dataclass(frozen=True)
class NetworkFile:
    """One file. name: its stem. folder: the one of `FOLDERS` that it lies in. place: its path below that,
    without suffix. alias: what its trainer called it, else the stem."""

    kind: str
    name: str
    folder: str
    place: str
    alias: str
    path: Path

    @property
    def is_pickle(self) -> bool:
        return self.path.suffix.lower() != SUFFIX


class NetworkFiles:
    """The files of all these folders below `models`, in sub-folders too. Any thread may ask.

    allow_pickle: whether files that are not safetensors can be used. hashes: where hashes are kept, best the
    checkpoints' own book.
    """

    def __init__(self, models: Path, *, allow_pickle: bool = False, hashes: HashBook | None = None) -> None:
        self._folders = {
            kind: tuple(WeightsFolder(models / name, _SUFFIXES[kind]) for name in names)
            for kind, names in FOLDERS.items()
        }
        self._allow_pickle = allow_pickle
        self._hashes = hashes or HashBook()

    def files(self, kind: Kind) -> list[NetworkFile]:
        """All files of a kind that can be used, by folder, and there by place."""
        return [file for file in self._every(kind) if self._allow_pickle or not file.is_pickle]

    def listed(self, kind: Kind) -> list[WeightsFile]:
        """What lists show: a file for each stem, by folder, and there by stem."""
        found: dict[str, WeightsFile] = {}
        for folder in self._folders[kind]:
            for file in folder.files():
                if self._allow_pickle or file.path.suffix.lower() == SUFFIX:
                    found.setdefault(file.name, file)
        return list(found.values())

    def find(self, kind: str, name: str, *, field: str) -> NetworkFile:
        """The file that a prompt means: by its path below the folder, its stem, or a LoRA's alias; in this
        order, and first in the letter case given, then in any. Each may end in the file's suffix. Of files in
        two folders that are found in the same way, those of the first are meant.

        Raises:
            ContractError: 422, names `field` and the files there are; or the name fits several, or a pickle
                that is not allowed.
        """
        files = self._every(kind)
        found = _match(files, name.strip().replace("\\", "/"))
        usable = [file for file in found if self._allow_pickle or not file.is_pickle] or found
        usable = [file for file in usable if file.folder == usable[0].folder]
        if len(usable) > 1:
            raise ContractError(
                f"{kind} {name[:100]!r} fits several files in models/{usable[0].folder}:"
                f" {_listed(file.place for file in usable)}",
                field=field,
            )
        if not usable:
            where = "models/" + " or ".join(FOLDERS[kind])
            there = {file.name: None for file in files if self._allow_pickle or not file.is_pickle}
            raise ContractError(
                f"{kind} {name[:100]!r} is not in {where}; there are: {_listed(there) or 'none'}", field=field
            )
        if usable[0].is_pickle and not self._allow_pickle:
            raise ContractError(
                f"{kind} {name[:100]!r}: {usable[0].path.name} is a pickle; set EASEL_ALLOW_PICKLE=true to"
                " load it (with torch's restricted reader), or convert it to .safetensors",
                field=field,
            )
        return usable[0]

    def hash_soon(self, file: NetworkFile) -> Future[str]:
        """What infotexts have, computed beside whoever asks where it is not known: the SHA-256 of a
        safetensors file without its header, or of a pickle as it is; 64 hex digits, none where the file is
        gone."""
        return self._hashes.soon([file.path], body=not file.is_pickle)

    def known_hash(self, path: Path) -> str:
        """The first `HASH_DIGITS` of the same, empty where it was never computed."""
        try:
            return self._hashes.known([path], body=path.suffix.lower() == SUFFIX)[:HASH_DIGITS]
        except OSError:
            return ""

    def _every(self, kind: str) -> list[NetworkFile]:
        return [
            _network(kind, file, folder.folder) for folder in self._folders[kind] for file in folder.every()
        ]


def _network(kind: str, file: WeightsFile, folder: Path) -> NetworkFile:
    place = file.path.relative_to(folder).with_suffix("").as_posix()
    alias = lora_alias(file) if kind == "lora" else file.name
    return NetworkFile(kind, file.name, folder.name, place, alias, file.path)


def _match(files: list[NetworkFile], asked: str) -> list[NetworkFile]:
    """All files that the first way of naming finds which finds any."""

    def spellings(file: NetworkFile) -> tuple[tuple[str, ...], ...]:
        suffix = file.path.suffix
        return (file.place, file.place + suffix), (file.name, file.name + suffix), (file.alias,)

    for fold in (str, str.casefold):
        wanted = fold(asked)
        for way in range(3):
            found = [file for file in files if wanted in map(fold, spellings(file)[way])]
            if found:
                return found
    return []


def _listed(names: Iterable[str]) -> str:
    known = sorted(names, key=str.casefold)
    more = f" and {len(known) - _NAMED_AT_MOST} more" if len(known) > _NAMED_AT_MOST else ""
    return ", ".join(name[:100] for name in known[:_NAMED_AT_MOST]) + more
