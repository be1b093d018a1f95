"""Checkpoints and VAEs through the cache: which key they have, how much they will weigh, how they load."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from easel_contract.checkpoints import ModelFile
from easel_contract.model_files import SUFFIX, read_header
from easel_contract.vae_files import VaeFile
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.diffusion.vae import Vae, load_vae, with_vae
from easel_worker.models.cache import CHECKPOINT, Key, ModelCache

log = logging.getLogger(__name__)

VAE = "vae"


class ModelLoader:
    """Loads what requests name, or finds it in the cache. Used by the torch thread only."""

    def __init__(
        self,
        cache: ModelCache,
        *,
        device: torch.device,
        dtype: torch.dtype,
        allow_pickle: bool = False,
        on_load: Callable[[], None] = lambda: None,
    ) -> None:
        """on_load: called after each checkpoint that was read from disk."""
        self.cache = cache
        self.device = device
        self.dtype = dtype
        self._allow_pickle = allow_pickle
        self._on_load = on_load

    def checkpoint(self, model: ModelFile) -> Checkpoint:
        """A checkpoint with the VAE that is in its own file."""
        key = Key(CHECKPOINT, model.name, model.path, model.stamp)
        return self.cache.get(
            key,
            lambda: self._load(model),
            expected=lambda: expected_nbytes(checkpoint_files(model), self.dtype),
        )

    def with_vae(self, checkpoint: Checkpoint, file: VaeFile) -> Checkpoint:
        """The checkpoint with the VAE of a file in the place of its own.

        Raises:
            JobError: the file is broken, or belongs to another family of models.
        """
        factor = checkpoint.scaling_factor

        def load() -> Vae:
            vae = load_vae(
                file.path,
                scaling_factor=factor,
                device=self.device,
                dtype=self.dtype,
                allow_pickle=self._allow_pickle,
            )
            log.info("VAE %s: loaded on %s", file.name, self.device)
            return vae

        key = Key(VAE, file.name, file.path, file.stamp, variant=factor)
        try:
            vae = self.cache.get(key, load, expected=lambda: expected_nbytes(file.weights, self.dtype))
        except CheckpointError as error:
            # The request named this file, and may name another.
            raise JobError(f"sd_vae: {error}") from error
        return with_vae(checkpoint, vae)

    def _load(self, model: ModelFile) -> Checkpoint:
        began = time.monotonic()
        checkpoint = load_checkpoint(
            model.path,
            device=self.device,
            dtype=self.dtype,
            allow_pickle=self._allow_pickle,
            own_vae=True,
        )
        self._on_load()
        log.info("checkpoint %s: loaded in %.1f s on %s", model.name, time.monotonic() - began, self.device)
        return checkpoint


def checkpoint_files(model: ModelFile) -> list[Path]:
    """The files that a checkpoint's weights are in. Of a folder that has them in two precisions, one."""
    if model.file_name:
        return [model.path]
    found: list[Path] = []
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        files = sorted((model.path / part).glob(f"*{SUFFIX}"))
        found += [file for file in files if ".fp16." not in file.name] or files
    return found


def expected_nbytes(files: Iterable[Path], dtype: torch.dtype) -> int:
    """Bytes that files of weights take in memory in a number format, from their headers alone. A file that
    cannot be read counts as nothing: loading it will say why."""
    total = 0
    for file in files:
        try:
            if file.suffix.lower() == SUFFIX:
                shapes = read_header(file).shapes
                total += dtype.itemsize * sum(math.prod(shape) for shape in shapes.values())
            else:
                total += file.stat().st_size
        except (OSError, ValueError):
            continue
    return total
