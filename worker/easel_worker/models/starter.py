"""Makes sure that a fresh installation has something to render with: the model that ships with Easel."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import easel_shapes
from easel_contract.checkpoints import INDEX, Library
from easel_shapes.single_file import write_ldm_file
from easel_worker.diffusion.tokenizer import write_tokenizer

log = logging.getLogger(__name__)

NAME = easel_shapes.NAME


def install_shapes(target: Path) -> None:
    """Copy the shipped model to the folder `target`, complete for any program that reads Stable Diffusion.

    Beside the diffusers folder's own files it gets CLIP's tokenizer, which the repository holds only once,
    and ``easel-shapes.safetensors``: the same weights as one file in LDM's format. ``model_index.json`` comes
    last, so that a folder which has it is whole.
    """
    source = easel_shapes.model_folder()
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(INDEX))
    write_tokenizer(target / "tokenizer")
    write_ldm_file(source, target / f"{NAME}.safetensors")
    shutil.copyfile(source / INDEX, target / INDEX)


def ensure_checkpoint(library: Library, build: Callable[[Path], object] = install_shapes) -> None:
    """When the model directory holds no checkpoint, put the shipped one there.

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
        log.info("no checkpoint in %s: putting %s there, which draws coloured shapes", library.folder, NAME)
        build(library.folder / NAME)
