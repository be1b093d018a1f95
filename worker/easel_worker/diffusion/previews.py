"""Live previews: which step is shown, and by which decoder.

The torch thread only turns latents into a small array now and then; encoding and sending is another
thread's (`easel_worker.previews`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.latent_rgb import latent_rgb_of
from easel_worker.diffusion.taesd import TaesdFiles
from easel_worker.outputs.grid import make_grid
from easel_worker.previews import PreviewFormat, PreviewImage

log = logging.getLogger(__name__)

PreviewDecoder = Callable[[torch.Tensor], NDArray[np.uint8]]
"""(N, C, h, w) latents as the UNet sees them -> (N, H, W, 3) RGB pictures."""

FULL, APPROX_NN, CHEAP, TAESD = "Full", "Approx NN", "Approx cheap", "TAESD"
TYPES = (FULL, APPROX_NN, CHEAP, TAESD)
"""What A1111 calls the decoders. "Approx NN" is a network that comes with A1111; here it is the cheap one."""

MIN_INTERVAL_S = 0.25
"""Between two previews, and before the first: what is quicker than that is not worth watching."""


@dataclass(frozen=True)
class PreviewSettings:
    """A1111's options. every_n_steps: -1 shows finished batches only, 0 nothing. grid: all pictures of a
    batch, otherwise its first."""

    enable: bool = True
    every_n_steps: int = 10
    type: str = APPROX_NN
    format: PreviewFormat = "png"
    grid: bool = True

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"show_progress_type: {self.type!r} is none of {', '.join(TYPES)}")
        if self.format not in get_args(PreviewFormat):
            raise ValueError(f"live_previews_image_format: {self.format!r} is none of png, jpeg, webp")

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> PreviewSettings:
        """From options by their A1111 names; one that is absent has its default.

        Raises:
            ValueError: names the option that is wrong, and what would be right.
        """
        default = cls()
        every = options.get("show_progress_every_n_steps", default.every_n_steps)
        if isinstance(every, bool) or not isinstance(every, int) or every < -1:
            raise ValueError("show_progress_every_n_steps: use -1 (finished batches only), 0 (none) or more")
        kind = str(options.get("live_previews_image_format", default.format)).lower()
        return cls(
            enable=bool(options.get("live_previews_enable", default.enable)),
            every_n_steps=every,
            type=str(options.get("show_progress_type", default.type)),
            format="jpeg" if kind == "jpg" else kind,  # type: ignore[arg-type] # checked at once
            grid=bool(options.get("show_progress_grid", default.grid)),
        )

    def due(self, step: int, *, last: bool) -> bool:
        """Whether the picture after this step of a batch (1 is the first) is to be shown."""
        if not self.enable or self.every_n_steps == 0:
            return False
        return last if self.every_n_steps < 0 else step % self.every_n_steps == 0


class Previews:
    """Makes decoders. One per worker; used on the torch thread only."""

    def __init__(self, taesd: TaesdFiles) -> None:
        self._taesd = taesd
        self._warned: set[str] = set()

    def decoder(self, checkpoint: Checkpoint, kind: str) -> PreviewDecoder | None:
        """The decoder of a checkpoint's latents; None where there is none. TAESD without its file is the
        cheap one, and the log says once which file is missing."""
        if kind == FULL:
            return lambda latents: decode(checkpoint, latents)
        if kind == TAESD:
            try:
                return self._taesd.decoder(checkpoint)
            except CheckpointError as error:
                self._warn(f"previews by TAESD: {error}; the cheap ones are shown")
        try:
            return latent_rgb_of(checkpoint)
        except CheckpointError as error:
            self._warn(f"no previews of {checkpoint.name}: {error}")
            return None

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            log.warning("%s", message)


class Previewer:
    """Shows one task's pictures as they come into being.

    A preview never fails its task: the first that goes wrong is the last one, and the log says why.
    """

    def __init__(
        self,
        decoder: PreviewDecoder | None,
        settings: PreviewSettings,
        show: Callable[[PreviewImage], None],
        *,
        min_interval_s: float = MIN_INTERVAL_S,
    ) -> None:
        self._decode = decoder
        self._settings = settings
        self._show = show
        self._min_interval_s = min_interval_s
        self._shown_at = time.monotonic()

    def offer(self, step: int, latents: Callable[[], torch.Tensor | None], *, last: bool = False) -> None:
        """What the model takes for the picture after a step; decides cheaply whether to show it.

        Args:
            step: Steps done of this batch.
            latents: The denoised latents (N, C, h, w) as the UNet sees them; asked only where they are shown.
            last: The batch is finished.
        """
        if self._decode is None or not self._settings.due(step, last=last):
            return
        now = time.monotonic()
        if now - self._shown_at < self._min_interval_s:
            return
        self._shown_at = now
        try:
            found = latents()
            if found is None:
                return
            picture = preview(found if self._settings.grid else found[:1], self._decode)
        except Exception as error:  # noqa: BLE001 - whatever it is, the task does not need it
            log.warning("no more previews of this task: %s: %s", type(error).__name__, error)
            self._decode = None
        else:
            self._show(PreviewImage(picture, self._settings.format))


@torch.inference_mode()
def preview(latents: torch.Tensor, decoder: PreviewDecoder) -> NDArray[np.uint8]:
    """One picture (H, W, 3) of a batch of latents (N, C, h, w): a grid if they are several."""
    pictures = decoder(latents)
    return pictures[0] if len(pictures) == 1 else make_grid(list(pictures))
