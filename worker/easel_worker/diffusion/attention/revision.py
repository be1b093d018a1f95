"""Revision: CLIP's embedding of a picture in place of the prompt's pooled one, in SDXL.

SDXL's UNet is told, beside every word, one vector of the whole text (Podell et al. 2023, section 2.1). It is
an embedding of OpenCLIP's ViT-bigG, which has pictures in the same space (Stability AI, "Revision", 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sqrt
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from easel_worker.diffusion.attention.units import Revision, acts
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance_hooks import UNetInput

_LEVELS = 1000


def augmented(embedding: torch.Tensor, noise: torch.Tensor, amount: float) -> torch.Tensor:
    """An embedding with noise of variance 1 mixed in, by the cosine schedule (Nichol & Dhariwal 2021,
    equation 17), as unCLIP does (Ramesh et al. 2022): less of the picture's detail, as much of its gist.

    Args:
        embedding: (n, width).
        noise: Likewise.
        amount: 0 to 1 (`threshold_a`); 0 leaves the embedding as it is.
    """
    if amount <= 0:
        return embedding
    level = round(min(amount, 1.0) * (_LEVELS - 1)) + 1
    kept = _cosine(level / _LEVELS) / _cosine(0.0)
    return sqrt(kept) * embedding + sqrt(1.0 - kept) * noise


def _cosine(part: float) -> float:
    return cos((part + 0.008) / 1.008 * pi / 2) ** 2


class ActingRevisions:
    """The units of this kind on one UNet: `attach`, `prepare` before each forward pass, `detach`.

    Raises:
        JobError: the checkpoint is no SDXL, or an embedding is of another width than its pooled text.
    """

    def __init__(self, units: Sequence[Revision], checkpoint: Checkpoint) -> None:
        self._units = [unit for unit in units if unit.weight != 0]
        self._unet = checkpoint.unet
        self._acting: list[Revision] = []
        self._positive: torch.Tensor | None = None
        self._images: torch.Tensor | None = None
        self._handles: list[RemovableHandle] = []
        for unit in units:
            _check(unit, checkpoint)

    def attach(self) -> None:
        """Begin to act. With weights 0 there is nothing to begin."""
        if self._units:
            self._handles.append(self._unet.register_forward_pre_hook(self._revise, with_kwargs=True))

    def detach(self) -> None:
        """Leave the UNet as it was."""
        while self._handles:
            self._handles.pop().remove()

    def prepare(self, inputs: UNetInput) -> None:
        """Look at what the coming forward pass is."""
        self._acting = [unit for unit in self._units if acts(unit, inputs.progress)]
        positive = [kind == "positive" for kind in inputs.rows.kinds]
        self._positive = torch.tensor(positive, device=inputs.sample.device)[:, None]
        self._images = inputs.rows.images

    def _revise(self, module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not self._acting or self._positive is None or self._images is None:
            return None
        sample, timesteps, context, *others = inputs
        text = named["added_cond_kwargs"]["text_embeds"]
        weight = sum(unit.weight for unit in self._acting)
        ignored = any(unit.ignore_prompt for unit in self._acting)
        pooled = text * (0.0 if ignored else max(0.0, 1.0 - weight))
        for unit in self._acting:
            seen = unit.embedding.to(text)
            pooled = pooled + unit.weight * (seen if len(seen) == 1 else seen[self._images])
        if ignored:
            context = torch.where(self._positive[..., None], torch.zeros_like(context), context)
        added = named["added_cond_kwargs"] | {"text_embeds": torch.where(self._positive, pooled, text)}
        return (sample, timesteps, context, *others), named | {"added_cond_kwargs": added}


def _check(unit: Revision, checkpoint: Checkpoint) -> None:
    encoder = checkpoint.text_encoder_2 or checkpoint.text_encoder
    if not checkpoint.size_numbers:
        raise JobError(f"{unit.field}.module: revision is for SDXL; {checkpoint.name} takes no pooled text")
    width = int(encoder.config.projection_dim)
    if unit.embedding.shape[-1] != width:
        raise JobError(
            f"{unit.field}.module: the image encoder's embeddings have {unit.embedding.shape[-1]} features,"
            f" the pooled text of {checkpoint.name} has {width}: revision needs ViT-bigG, clip_g"
        )
