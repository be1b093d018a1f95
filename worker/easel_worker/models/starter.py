"""Makes sure that a fresh installation has something to render with."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable
from pathlib import Path

from easel_worker.models.library import Library

log = logging.getLogger(__name__)

NAME = "easel-random"


def ensure_checkpoint(library: Library, build: Callable[[Path], object]) -> None:
    """When the model directory holds no checkpoint, build the one with random weights there.

    Several workers may start at once: a lock file lets one build while the others wait for it. `build`
    writes ``model_index.json`` last, so what a worker that dies half-way leaves is no checkpoint yet, and the
    next one writes it again.
    """
    if library.names():
        return
    library.folder.mkdir(parents=True, exist_ok=True)
    with (library.folder / f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, also by a crash
        if library.names():
            return
        target = library.folder / NAME
        log.info("no checkpoint in %s: building %s, a small model with random weights", library.folder, NAME)
        build(target)
