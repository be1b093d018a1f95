"""A process that numbers pictures: `number_pictures.py <place as JSON> <count>`.

It says ``ready``, waits for a line, stores its pictures, and prints their numbers as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from easel_store import LocalStore, S3Options, S3Store, Store
from easel_worker.outputs.numbering import Numbers

FOLDER = "outputs/txt2img-images/2026-01-01"


def open_place(place: dict[str, Any]) -> tuple[Store, Store]:
    """The store of pictures and the registers."""
    if "path" in place:
        return LocalStore(Path(place["path"])), LocalStore(Path(place["path"], "numbers"))
    inside = {**place, "prefix": f"{place['prefix']}/numbers"}
    return S3Store(S3Options(**place)), S3Store(S3Options(**inside))


def save(store: Store, numbers: Numbers, seed: int, folder: str = FOLDER) -> int:
    with numbers.take(folder) as number:
        store.put(f"{folder}/{number:05}-{seed}.png", b"x", "image/png")
    return number


def main() -> None:
    store, registers = open_place(json.loads(sys.argv[1]))
    numbers = Numbers(store, registers)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps([save(store, numbers, 5) for _ in range(int(sys.argv[2]))]), flush=True)


if __name__ == "__main__":
    main()
