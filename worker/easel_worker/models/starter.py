"""Makes sure that a fresh installation has something to render with: the model that ships with Easel."""

from __future__ import annotations

import fcntl
import filecmp
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import easel_shapes
from easel_contract.checkpoints import INDEX, Library
from easel_shapes.companions import COMPANIONS, companions_folder
from easel_shapes.single_file import write_ldm_file
from easel_worker.diffusion.tokenizer import write_tokenizer

log = logging.getLogger(__name__)

NAME = easel_shapes.NAME

GIVEN = f".{NAME}.companions"
"""In the checkpoint folder: its companions have been put there once."""

_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


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
    _give_companions(target.parent)
    install_shapes(target)


def ensure_companions(folder: Path) -> None:
    """Put the companions beside a shipped model in the checkpoint folder `folder` that never had them: it was
    installed before they were there, or copied from elsewhere.

    Once: a hidden file remembers it, so that an operator who deletes them is not given them again. A model
    with other weights, or a folder that cannot be written to, is left as it is.
    """
    if (folder / GIVEN).exists() or not _is_shipped(folder / NAME):
        return
    try:
        with _locked(folder):
            if not (folder / GIVEN).exists():
                log.info("putting the ControlNet and LoRAs of %s beside it", NAME)
                _give_companions(folder)
    except OSError as error:
        log.warning("the ControlNet and LoRAs of %s cannot be put beside it: %s", NAME, error)


def ensure_checkpoint(library: Library, build: Callable[[Path], object] = install_starter) -> None:
    """When the model directory holds no checkpoint, put the shipped one there, its companions beside it.

    Several workers may start at once: a lock file lets one build while the others wait for it. `build`
    writes ``model_index.json`` last, so what a worker that dies half-way leaves is no checkpoint yet, and the
    next one writes it again.
    """
    if library.names():
        return
    library.folder.mkdir(parents=True, exist_ok=True)
    with _locked(library.folder):
        if library.names():
            return
        log.info("no checkpoint in %s: putting %s there, which draws coloured shapes", library.folder, NAME)
        build(library.folder / NAME)


def _give_companions(folder: Path) -> None:
    install_companions(folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GIVEN).touch()


def _is_shipped(model: Path) -> bool:
    """Whether a folder has this release's weights, which the companions were trained for."""
    try:
        return filecmp.cmp(model / _WEIGHTS, easel_shapes.model_folder() / _WEIGHTS, shallow=False)
    except OSError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time writes to the folder."""
    with (folder / f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, also by a crash
        yield
