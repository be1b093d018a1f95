"""A caption, and the phrases that fit, from the files that are there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from easel_worker.interrogate.folders import blip_folder, clip_folder, word_lists
from easel_worker.models.shelf import CAPTIONER, RANKS, OneOfEach, Shelf

if TYPE_CHECKING:
    import torch

    from easel_worker.interrogate.blip import Blip
    from easel_worker.interrogate.ranks import Ranks

MIN_LENGTH, MAX_LENGTH, BEAMS = 24, 48, 1
"""Of a caption, in tokens; A1111's defaults."""
LINES = 1500
"""Of a word list that are read; A1111's default."""


class Interrogator:
    """Describes pictures. Loads its models on first use. Lives on the torch thread.

    Args:
        models: The folder ``models/``.
        device: Tells the device; asked when the first model is loaded.
        shelf: Keeps loaded models; by default all that were used.
    """

    def __init__(
        self, models: Path, device: Callable[[], torch.device], *, shelf: Shelf | None = None
    ) -> None:
        self._models = models
        self._device = device
        self._shelf = shelf or OneOfEach()

    def describe(
        self,
        picture: Image.Image,
        *,
        min_length: int = MIN_LENGTH,
        max_length: int = MAX_LENGTH,
        beams: int = BEAMS,
        lines: int = LINES,
        skipped: Collection[str] = (),
    ) -> str:
        """The caption, then ``, `` and each phrase.

        Args:
            min_length, max_length: Of the caption, in tokens; the larger of the two is the most.
            lines: How many of each word list are read; 0 is all.
            skipped: Word lists that are left out, by their names up to the first dot.

        Raises:
            ContractError: 422, a file is missing.
            WeightsError: a file cannot be used.
        """
        caption = self._captioner().caption(
            picture, min_length=min_length, max_length=max(min_length, max_length), beams=beams
        )
        lists = [path for path in word_lists(self._models) if path.name.split(".")[0] not in skipped]
        if not lists:
            return caption
        return ", ".join([caption, *self._clip().best(picture, lists, lines)])

    def unload(self) -> None:
        """Forget the models."""
        self._shelf.forget(CAPTIONER)
        self._shelf.forget(RANKS)

    def _captioner(self) -> Blip:
        from easel_worker.interrogate.blip import Blip

        folder = blip_folder(self._models)
        return self._shelf.get(CAPTIONER, folder.name, [folder], lambda: Blip(folder, self._device()))

    def _clip(self) -> Ranks:
        from easel_worker.interrogate.ranks import Ranks

        folder = clip_folder(self._models)
        return self._shelf.get(RANKS, folder.name, [folder], lambda: Ranks(folder, self._device()))
