"""Networks beside the checkpoints, through the cache: preprocessors, upscalers, face restorers, captioners.

They are objects of many libraries that have modules somewhere inside and know their device. So they are not
moved: where the device has no room for them they are thrown out, and loaded again by the next task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from easel_worker.models.cache import ModelCache

ANNOTATOR, UPSCALER = "annotator", "upscaler"
FACE_DETECTOR, FACE_RESTORER = "face detector", "face restorer"
CAPTIONER, RANKS = "captioner", "phrase ranks"
KINDS = frozenset({ANNOTATOR, UPSCALER, FACE_DETECTOR, FACE_RESTORER, CAPTIONER, RANKS})
"""What the cache calls them."""

_DEEP = 6
"""How far inside of an object its modules are looked for."""

T = TypeVar("T")


class Shelf(Protocol):
    """Keeps loaded networks."""

    def get(self, kind: str, name: str, files: Sequence[Path], load: Callable[[], T]) -> T:
        """What was loaded from these files as `name`; loaded now, unless it is kept and they are unchanged.

        Args:
            kind: One of `KINDS`.
            files: At least one; folders count as all that is in them.
            load: What it raises passes through.
        """

    def forget(self, kind: str) -> None:
        """Keep none of a kind."""


class OneOfEach:
    """Keeps the last network of each kind, whatever it weighs: for use without a worker."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Any]] = {}

    def get(self, kind: str, name: str, files: Sequence[Path], load: Callable[[], T]) -> T:
        key = name, tuple((path, path.stat().st_mtime_ns) for path in files)
        if kind not in self._kept or self._kept[kind][0] != key:
            self.forget(kind)  # first, so that two are never in memory
            self._kept[kind] = key, load()
        found: T = self._kept[kind][1]
        return found

    def forget(self, kind: str) -> None:
        self._kept.pop(kind, None)


class CacheShelf:
    """Keeps as many as the cache's budgets allow. cache: asked for at each use, on the torch thread."""

    def __init__(self, cache: Callable[[], ModelCache]) -> None:
        self._cache = cache

    def get(self, kind: str, name: str, files: Sequence[Path], load: Callable[[], T]) -> T:
        import torch

        from easel_worker.models.cache import Key
        from easel_worker.models.loader import expected_nbytes

        first, *others = ((path, path.stat().st_mtime_ns) for path in files)
        key = Key(kind, name, first[0], stamp=first[1], variant=tuple(others))
        kept = self._cache().get(
            key,
            lambda: _weighed(load()),
            expected=lambda: expected_nbytes(_weights(files), torch.float32),
            movable=False,
        )
        found: T = kept.network
        return found

    def forget(self, kind: str) -> None:
        self._cache().keep_newest({kind}, 0)


@dataclass(frozen=True, eq=False)
class _Kept:
    network: Any
    nbytes: int

    def to(self, device: torch.device) -> None:
        raise AssertionError("a network that cannot be moved is thrown out instead")


def _weighed(network: Any) -> _Kept:
    return _Kept(network, nbytes_of(network))


def nbytes_of(network: Any) -> int:
    """Bytes of the parameters and buffers of all modules inside of an object, each counted once."""
    weights = {
        id(weight): weight for module in _modules(network, _DEEP, set()) for weight in _tensors(module)
    }
    return sum(weight.nbytes for weight in weights.values())


def _modules(thing: Any, depth: int, seen: set[int]) -> Iterator[torch.nn.Module]:
    from torch import nn

    if id(thing) in seen or depth == 0:
        return
    seen.add(id(thing))
    inside: Sequence[Any] = ()
    if isinstance(thing, nn.Module):
        yield thing
    elif isinstance(thing, Mapping):
        inside = list(thing.values())
    elif isinstance(thing, list | tuple):
        inside = thing
    elif not isinstance(thing, type) and hasattr(thing, "__dict__"):
        inside = list(vars(thing).values())
    for one in inside:
        yield from _modules(one, depth - 1, seen)


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _weights(files: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        found += sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return found
