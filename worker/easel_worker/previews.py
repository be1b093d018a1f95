"""Sends previews of unfinished pictures without ever slowing the torch thread."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from easel_queue import MAX_PREVIEW_BYTES, LeaseLostError
from easel_worker.duty import Duty
from easel_worker.job import Job
from easel_worker.steady import SteadyQueue

log = logging.getLogger(__name__)

PreviewFormat = Literal["png", "jpeg", "webp"]

MAX_SIDE = 512
"""Pixels of the longer side; a larger picture is made smaller before it is sent."""

INTERVAL_S = 0.25
"""At most four previews a second per task reach Redis."""


@dataclass(frozen=True)
class PreviewImage:
    """A picture as it looks so far: (height, width, 3) uint8 RGB, and how it is to be encoded."""

    rgb: NDArray[np.uint8]
    format: PreviewFormat = "png"


class PreviewSender(Duty):
    """Keeps the newest preview of the running task, encodes and sends it. One that cannot be sent is dropped:
    the next one shows more."""

    name = "previews"

    def __init__(self, queue: SteadyQueue, on_crash: Callable[[str], None]) -> None:
        super().__init__(on_crash)
        self._queue = queue
        self._changed = threading.Condition()
        self._pending: tuple[Job, PreviewImage] | None = None

    def offer(self, job: Job, image: PreviewImage) -> None:
        """Note the newest preview; neither encodes nor sends it here."""
        with self._changed:
            self._pending = (job, image)
            self._changed.notify()

    def stop(self) -> None:
        super().stop()
        with self._changed:
            self._changed.notify()

    def body(self) -> None:
        while not self.stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._pending is not None or self.stopping.is_set())
                pending, self._pending = self._pending, None
            if pending is not None:
                began = time.monotonic()
                self._send(*pending)
                self.stopping.wait(max(0.0, INTERVAL_S - (time.monotonic() - began)))

    def _send(self, job: Job, image: PreviewImage) -> None:
        media_type, data = encode(image)
        if len(data) > MAX_PREVIEW_BYTES:
            log.debug("task %s: a preview of %d bytes is not sent", job.request_id, len(data))
            return
        try:
            self._queue.attempt(self._queue.tasks.preview(job.task, data, media_type=media_type))
        except LeaseLostError:
            return  # it ended, or the lease keeper will hear of it


def encode(image: PreviewImage) -> tuple[str, bytes]:
    """Media type and file of a preview, at most `MAX_SIDE` pixels wide and high.

    A PNG that would be larger than a preview may be becomes a JPEG.
    """
    picture = Image.fromarray(image.rgb)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
    data = _file(picture, image.format)
    if len(data) <= MAX_PREVIEW_BYTES or image.format == "jpeg":
        return f"image/{image.format}", data
    return "image/jpeg", _file(picture, "jpeg")


def _file(picture: Image.Image, kind: PreviewFormat) -> bytes:
    file = io.BytesIO()
    if kind == "png":
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, kind.upper(), quality=80)
    return file.getvalue()
