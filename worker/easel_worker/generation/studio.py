"""What a job is rendered with: models, upscalers, and the way to tell how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from PIL import Image

from easel_contract.checkpoints import ModelFile
from easel_contract.vae_files import VaeFile
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.embeddings import EmbeddingFolder
from easel_worker.diffusion.extra_networks import ExtraNetworks
from easel_worker.diffusion.taesd import TaesdFiles
from easel_worker.imaging.resize import Upscaler

if TYPE_CHECKING:
    from easel_worker.generation.control.run import BatchControl, ControlKit


Shown = Callable[[], torch.Tensor | None]
"""The latents (n, 4, h, w) that a preview shows now; None before there are any. Worked out when called."""


class Watch(Protocol):
    """Hears how a task goes on, and says when it must not. Lives on the torch thread."""

    def loading(self) -> None:
        """A checkpoint is about to be fetched."""

    def batch_begins(self, images: int) -> None:
        """A batch of so many images begins; a skip that was meant for the one before is forgotten."""

    def pass_begins(self, steps: int) -> None:
        """A way of so many steps through a sampler begins."""

    def step(self, done: int, steps: int, shown: Shown) -> None:
        """`done` of `steps` steps of the pass are over; `shown` tells the picture so far. Raises what stops
        the whole task, such as a cancel."""

    def batch_done(self, images: int) -> None:
        """A batch is decoded."""

    @property
    def interrupted(self) -> bool:
        """The task is to end now, with what there is."""

    @property
    def cut_short(self) -> bool:
        """The running batch is to end now, with the latents as they are: interrupted, or skipped."""


class QuietWatch:
    """A watch that nobody looks at, and that stops nothing."""

    interrupted = False
    cut_short = False

    def loading(self) -> None:
        """Nobody is told."""

    def batch_begins(self, images: int) -> None:
        """Nobody is told."""

    def pass_begins(self, steps: int) -> None:
        """Nobody is told."""

    def step(self, done: int, steps: int, shown: Shown) -> None:
        """Nobody is told."""

    def batch_done(self, images: int) -> None:
        """Nobody is told."""


RestoreFaces = Callable[[Image.Image, str, float], Image.Image]
"""(picture, the restorer's name, CodeFormer's weight) -> the picture with its faces restored."""


def _keep_vae(checkpoint: Checkpoint, vae: VaeFile) -> Checkpoint:
    raise ValueError(f"VAE {vae.name}: this studio has its checkpoints' own VAEs only")


@dataclass(frozen=True)
class Studio:
    """What the torch thread lends to a job.

    checkpoint: loads one, or finds it in memory. upscaler: by name; raises ContractError for an unknown one
    or a missing file. restore_faces: likewise. embeddings: the textual inversions that prompts may name.
    with_vae: a checkpoint with the VAE of a file in the place of its own.
    told: what the batch in work has to tell in its infotexts beside the job's own facts; its passes fill it.
    networks: attaches LoRAs and hypernetworks; None attaches none. problems: what was done otherwise than
    asked, a sentence each.
    control: what ControlNet units work with; None where nothing can have any. units: those of the batch in
    work, None for a job without.
    taesd: what stands in for VAEs where options ask for it; without it nothing does.
    """

    checkpoint: Callable[[ModelFile], Checkpoint]
    upscaler: Callable[[str], Upscaler]
    restore_faces: RestoreFaces
    watch: Watch
    embeddings: EmbeddingFolder | None = None
    with_vae: Callable[[Checkpoint, VaeFile], Checkpoint] = _keep_vae
    told: dict[str, object] = field(default_factory=dict)
    networks: ExtraNetworks | None = None
    problems: list[str] = field(default_factory=list)
    control: ControlKit | None = None
    units: BatchControl | None = None
    taesd: TaesdFiles | None = None
