"""Units whose picture CLIP looks at: prompts through an IP-Adapter, and Revision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from easel_contract.controlnet import ControlFile, ControlMode
from easel_contract.errors import ContractError
from easel_worker.annotators import Pixels
from easel_worker.diffusion.attention.clip_vision import ClipView
from easel_worker.diffusion.attention.ip_adapter import ImageTokens, IPAdapter
from easel_worker.diffusion.attention.revision import augmented
from easel_worker.diffusion.attention.units import ImagePrompt, Mode, Revision
from easel_worker.generation.control.eyes import eyes_for
from easel_worker.generation.control.kinds import Kind
from easel_worker.generation.control.models import ControlModels
from easel_worker.generation.control.sources import Same
from easel_worker.generation.control.unit import Hint, Mask, Unit, UnitImage
from easel_worker.generation.job import Source

MODES: dict[ControlMode, Mode] = {
    ControlMode.BALANCED: "balanced",
    ControlMode.PROMPT: "prompt",
    ControlMode.CONTROL: "control",
}
"""The control modes as attention knows them."""


class Looks:
    """What such units are in a pass.

    Args:
        source: img2img's, whose pictures stand in for a unit's own, picture i of the batch looking at image i
            modulo how many there are; None for txt2img.
        images: Pictures of the batch.
        seed: Of Revision's noise.
    """

    def __init__(self, source: Source | None, models: ControlModels, images: int, seed: int) -> None:
        self._lent = () if source is None else source.images[:images]
        self._models = models
        self._batch = images
        self._seed = seed

    def acting(self, unit: Unit) -> ImagePrompt | Revision:
        """What a unit asks of the UNet.

        Raises:
            ContractError: its model or CLIP's encoder is missing or of another kind, or its embeddings do not
                go together.
            JobError: adapter and encoder do not fit each other.
        """
        return self._image_prompt(unit) if unit.kind is Kind.IMAGE_PROMPT else self._revision(unit)

    def shown(self, unit: Unit) -> list[Image.Image]:
        """What answers show of a unit: its own picture, the first of several, or each of img2img's; nothing
        where it came as embeddings."""
        if unit.views:
            return []
        seen: list[tuple[tuple[object, ...], Pixels]]
        if unit.images:
            seen = [(("own",), unit.images[0].pixels)]
        else:
            seen = [(("init", Same(image)), np.asarray(image)) for image in self._lent]
        return [unit.known.setdefault(key, Hint(key, pixels)).shown for key, pixels in seen]

    def _image_prompt(self, unit: Unit) -> ImagePrompt:
        asked = unit.asked
        adapter = self._models.adapter(file_of(unit), f"{asked.field}.model")
        faces = [view for view in unit.views if isinstance(view, torch.Tensor)]
        seen = [view for view in unit.views if not isinstance(view, torch.Tensor)]
        if faces and seen:
            raise ContractError(
                "has embeddings of pictures and of faces; send those of one kind",
                field=f"{asked.field}.ipadapter_input",
            )
        if faces:
            tokens = adapter.embed_faces(torch.cat(faces), field=f"{asked.field}.ipadapter_input")
        elif seen:
            tokens = adapter.embed(seen, field=f"{asked.field}.ipadapter_input")
        else:
            tokens = self._tokens(unit, adapter)
        return ImagePrompt(
            adapter,
            tokens,
            weight=asked.weight,
            start=asked.guidance_start,
            end=asked.guidance_end,
            mode=MODES[asked.control_mode],
            layer_weights=asked.advanced_weighting,
            region=None if unit.region is None else region_of(unit.region),
            field=asked.field,
        )

    def _tokens(self, unit: Unit, adapter: IPAdapter) -> ImageTokens:
        """Of all the unit's own pictures together, or of each of img2img's."""
        field = f"{unit.asked.field}.module"
        views = self._views(unit)
        if unit.images:
            return adapter.embed(views, field=field)
        made = [adapter.embed([view], field=field) for view in views]
        return ImageTokens(self._per_picture([one.shown for one in made]), made[0].blank)

    def _revision(self, unit: Unit) -> Revision:
        asked = unit.asked
        projected = self._per_picture([view.projected for view in self._views(unit)])
        # Drawn on the CPU, so that it is the same on every device; one for all, as each picture's own would
        # have it.
        lots = torch.Generator().manual_seed(self._seed)
        noise = torch.randn(projected[:1].shape, generator=lots).to(projected)
        return Revision(
            augmented(projected, noise, asked.threshold_a),
            weight=asked.weight,
            ignore_prompt=asked.module == "revision_ignore_prompt",
            start=asked.guidance_start,
            end=asked.guidance_end,
            field=asked.field,
        )

    def _views(self, unit: Unit) -> list[ClipView]:
        """What CLIP sees in the unit's pictures; a mask hides what it leaves black."""
        eyes = self._models.eyes(eyes_for(unit.asked, unit.file), f"{unit.asked.field}.module")
        return [eyes.look(image.pixels, image.mask) for image in self._images(unit)]

    def _images(self, unit: Unit) -> Sequence[UnitImage]:
        return unit.images or [UnitImage(np.asarray(image)) for image in self._lent]

    def _per_picture(self, found: Sequence[torch.Tensor]) -> torch.Tensor:
        """(1 or images, …): one for all of the batch, or each picture's own."""
        if len(found) == 1:
            return found[0]
        return torch.cat([found[i % len(found)] for i in range(self._batch)])


def file_of(unit: Unit) -> ControlFile:
    """The model of a unit that cannot do without."""
    if unit.file is None:
        raise ContractError("needs a model", field=f"{unit.asked.field}.model")
    return unit.file


def region_of(mask: Mask) -> torch.Tensor:
    """(h, w), 0 to 1: where a unit acts."""
    return torch.from_numpy(mask.astype(np.float32) / 255.0)
