"""Runs the preprocessors by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from easel_worker.annotators.annotation import Annotation, Pixels
from easel_worker.annotators.plain import PLAIN
from easel_worker.annotators.plain.masks import INPAINT

if TYPE_CHECKING:
    import torch


class Annotators:
    """The preprocessors of one worker. Those that need no weights run on any thread, the others on the torch
    thread only; one network is kept loaded.

    Args:
        models: The folder ``models/``; weights are looked for in its ``annotators/``.
        device: Tells the device; asked when the first network is loaded.
        allow_pickle: Whether weights may be pickles (``.pth``, ``.pt``).
    """

    def __init__(self, models: Path, device: Callable[[], torch.device], *, allow_pickle: bool) -> None:
        self._models = models
        self._device = device
        self._allow_pickle = allow_pickle

    def available(self) -> tuple[str, ...]:
        """The names of the modules that would run now. Any thread may ask."""
        raise NotImplementedError

    def needs_torch(self, module: str) -> bool:
        """Whether a module must run on the torch thread. Any thread may ask."""
        return module not in PLAIN and module not in INPAINT

    def check(self, module: str, *, field: str) -> None:
        """Whether a module would run. Any thread may ask.

        Raises:
            ContractError: 422: a file is missing (says which, and where it belongs), or nothing here can run
                this module (says why).
        """
        raise NotImplementedError

    def run(
        self,
        module: str,
        picture: Pixels,
        *,
        mask: NDArray[np.uint8] | None = None,
        resolution: float | None = None,
        threshold_a: float | None = None,
        threshold_b: float | None = None,
        seed: int = 0,
        field: str = "module",
    ) -> Annotation:
        """What a module makes of a picture.

        Args:
            module: Canonical name.
            picture: (h, w, 3) RGB.
            mask: (h, w), 255 where it is to be painted; only the inpaint modules look at it.
            resolution: Of the shorter side; None, or out of the module's range, is its default.
            threshold_a, threshold_b: Its sliders, likewise.
            seed: Of "shuffle"; (seed + subseed) mod 2**32 of the job.
            field: What errors name.

        Raises:
            ContractError: as `check`.
            WeightsError: a file cannot be used; names it.
        """
        raise NotImplementedError

    def unload(self) -> None:
        """Forget what is loaded. On the torch thread."""
