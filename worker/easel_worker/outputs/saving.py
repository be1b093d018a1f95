"""Puts a task's pictures into the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from easel_contract.savedir import SaveDir
from easel_store import Store, StoreError
from easel_worker.outputs.names import Names
from easel_worker.outputs.png import CONTENT_TYPE


@dataclass(frozen=True)
class Picture:
    """An encoded picture; `seed` None is the grid."""

    png: bytes
    seed: int | None


@dataclass(frozen=True)
class Saved:
    """Where a picture went: its key in the store, and the path that the client is told."""

    key: str
    shown: str


def save(store: Store, pictures: Sequence[Picture], names: Names, folder: SaveDir) -> list[Saved]:
    """Store all pictures below `folder`, in order.

    Raises:
        StoreError: says what to do. Pictures stored so far stay; nobody was told their names.
    """
    saved = []
    for picture in pictures:
        name = names.grid() if picture.seed is None else names.image(picture.seed)
        place = Saved(folder.key(name), folder.shown(name))
        store.put(place.key, picture.png, CONTENT_TYPE)
        saved.append(place)
    return saved


def presign(store: Store, saved: Sequence[Saved], expires_s: int) -> list[str] | None:
    """Addresses that anybody may read for `expires_s` seconds; None where the store has none: a directory."""
    try:
        return [store.presigned_url(place.key, expires_s) for place in saved]
    except StoreError:
        return None
