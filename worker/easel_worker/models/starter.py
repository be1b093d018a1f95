"""Makes sure that a fresh installation has something to render with: the model that ships with Easel."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import easel_shapes
from easel_contract.checkpoints import INDEX, Library
from easel_shapes.companions import COMPANIONS, companions_folder
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


def install_companions(models: Path) -> None:
    """Copy the shipped model's ControlNet and LoRAs to their folders below `models`.

    A file of the same name that is there already stays as it is.
    """
    for name, folder in COMPANIONS.items():
        target = models / folder / name
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        shutil.copyfile(companions_folder() / name, part)
        part.replace(target)  # a listing never sees half a file


def install_starter(target: Path) -> None:
    """`install_shapes` in the checkpoint folder of a data directory, and the companions beside that folder.

    The model comes last: what a worker that dies half-way leaves is no checkpoint, and all is written again.
    """
    install_companions(target.parent.parent)
    install_shapes(target)


def ensure_checkpoint(library: Library, build: Callable[[Path], object] = install_starter) -> None:
    """When the model directory holds no checkpoint, put the shipped one there, its companions beside it.

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
