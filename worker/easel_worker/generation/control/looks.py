"""Units whose picture CLIP looks at: prompts through an IP-Adapter, and Revision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from easel_contract.controlnet import ControlFile, ControlMode
from easel_contract.errors import ContractError
from easel_worker.diffusion.attention.clip_vision import ClipView
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
        source: img2img's, whose first picture stands in for a unit's own; None for txt2img.
        seed: Of Revision's noise.
    """

    def __init__(self, source: Source | None, models: ControlModels, seed: int) -> None:
        self._source = source
        self._models = models
        self._seed = seed

    def acting(self, unit: Unit) -> ImagePrompt | Revision:
        """What a unit asks of the UNet.

        Raises:
            ContractError: its model or CLIP's encoder is missing or of another kind, or its embeddings do not
                go together.
            JobError: adapter and encoder do not fit each other.
        """
        return self._image_prompt(unit) if unit.kind is Kind.IMAGE_PROMPT else self._revision(unit)

    def shown(self, unit: Unit) -> Image.Image | None:
        """What answers show of a unit: its picture; None where it came as embeddings."""
        images = self._images(unit)
        if not images:
            return None
        key = ("own",) if unit.images or self._source is None else ("init", Same(self._source.images[0]))
        return unit.known.setdefault(key, Hint(key, images[0].pixels)).shown

    def _image_prompt(self, unit: Unit) -> ImagePrompt:
        asked = unit.asked
        adapter = self._models.adapter(file_of(unit), f"{asked.field}.model")
        views = unit.views or self._views(unit)
        faces = [view for view in views if isinstance(view, torch.Tensor)]
        seen = [view for view in views if not isinstance(view, torch.Tensor)]
        if faces and seen:
            raise ContractError(
                "has embeddings of pictures and of faces; send those of one kind",
                field=f"{asked.field}.ipadapter_input",
            )
        looked_by = f"{asked.field}.{'ipadapter_input' if unit.views else 'module'}"
        tokens = (
            adapter.embed_faces(torch.cat(faces), field=looked_by)
            if faces
            else adapter.embed(seen, field=looked_by)
        )
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

    def _revision(self, unit: Unit) -> Revision:
        asked = unit.asked
        [view] = self._views(unit)[:1]
        # Drawn on the CPU, so that it is the same on every device.
        lots = torch.Generator().manual_seed(self._seed)
        noise = torch.randn(view.projected.shape, generator=lots).to(view.projected)
        return Revision(
            augmented(view.projected, noise, asked.threshold_a),
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
        if unit.images or unit.views or self._source is None:
            return unit.images
        return [UnitImage(np.asarray(self._source.images[0]))]


def file_of(unit: Unit) -> ControlFile:
    """The model of a unit that cannot do without."""
    if unit.file is None:
        raise ContractError("needs a model", field=f"{unit.asked.field}.model")
    return unit.file


def region_of(mask: Mask) -> torch.Tensor:
    """(h, w), 0 to 1: where a unit acts."""
    return torch.from_numpy(mask.astype(np.float32) / 255.0)
