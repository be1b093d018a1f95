"""The UNet's inputs for one moment: which images and texts go through it together, laid out once.

A row is one image with one text. Rows are ordered by slot: every image's first part, every image's second
part, … then the negative prompts. Rows whose contexts have the same length share a forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from easel_worker.diffusion.conditioning import Moment
from easel_worker.diffusion.size_ids import SizeIds

Padding = Literal["none", "empty", "repeat"]
"""How contexts of different lengths meet in one pass: not at all; the shorter one is filled with encoded
empty prompts (A1111's pad_cond_uncond); the negative one is cut, or filled with its last vector
(pad_cond_uncond_v0)."""

RowKind = Literal["positive", "negative", "blank"]
"""positive: a part of the prompt. negative: the negative prompt. blank, in InstructPix2Pix: the negative
prompt without the picture."""

_ROWS_PER_IMAGE = 4
"""Rows per image that go through the UNet at once; more, with many parts, would ask for memory that the batch
size did not announce."""


@dataclass(frozen=True, eq=False)
class Slot:
    """The n-th parts of the images that have as many. images: None for all, in order."""

    rows: slice
    images: torch.Tensor | None
    weights: torch.Tensor | None
    """(rows, 1, 1, 1), float32; None where all are 1."""


@dataclass(frozen=True, eq=False)
class Call:
    """One forward pass. rows: their places among all rows, None for all. images: the image of each row."""

    rows: torch.Tensor | None
    images: torch.Tensor
    context: torch.Tensor
    added: dict[str, torch.Tensor] | None
    concat: torch.Tensor | None
    kinds: tuple[RowKind, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """All forward passes of one moment, and where their results stand among `rows` rows."""

    calls: tuple[Call, ...]
    slots: tuple[Slot, ...]
    rows: int
    negative: slice | None
    blank: slice | None


@dataclass(frozen=True, eq=False)
class BatchInputs:
    """What is the same in all moments of a pass.

    empty: the encoded empty prompt, for padding "empty". picture: the latents that an inpainting or
    InstructPix2Pix UNet takes as further channels, (1 or images, channels, h, w). together: positive and
    negative rows may share a pass (A1111's batch_cond_uncond).
    """

    device: torch.device
    dtype: torch.dtype
    padding: Padding = "none"
    empty: torch.Tensor | None = None
    size_ids: SizeIds | None = None
    picture: torch.Tensor | None = None
    together: bool = True


@dataclass(eq=False)
class _Row:
    image: int
    kind: RowKind
    context: torch.Tensor
    pooled: torch.Tensor | None


def lay_out(moment: Moment, inputs: BatchInputs, *, negatives: bool, blanks: bool) -> Batch:
    """Arrange a moment's rows. negatives: with the negative prompts; blanks: and those without picture."""
    images = len(moment.parts)
    contexts = [_even_parts([encoded.context for _, encoded in parts]) for parts in moment.parts]
    unwanted = [encoded.context for encoded in moment.negatives]
    if negatives and inputs.padding != "none":
        for i in range(images):
            contexts[i], unwanted[i] = _pad_pair(contexts[i], unwanted[i], inputs)
    rows: list[_Row] = []
    slots: list[Slot] = []
    for n in range(max(len(parts) for parts in moment.parts)):
        having = [i for i in range(images) if n < len(moment.parts[i])]
        start = len(rows)
        rows += [_Row(i, "positive", contexts[i][n], moment.parts[i][n][1].pooled) for i in having]
        weights = [moment.parts[i][n][0] for i in having]
        slots.append(
            Slot(
                slice(start, len(rows)),
                None if len(having) == images else torch.tensor(having, device=inputs.device),
                None
                if set(weights) == {1.0}
                else torch.tensor(weights, dtype=torch.float32, device=inputs.device)[:, None, None, None],
            )
        )
    ranges: dict[RowKind, slice] = {}
    asked: dict[RowKind, bool] = {"negative": negatives, "blank": blanks}
    for kind, wanted in asked.items():
        if wanted:
            ranges[kind] = slice(len(rows), len(rows) + images)
            rows += [_Row(i, kind, unwanted[i], moment.negatives[i].pooled) for i in range(images)]
    calls = tuple(_call(rows, places, inputs) for places in _groups(rows, images, inputs))
    return Batch(calls, tuple(slots), len(rows), ranges.get("negative"), ranges.get("blank"))


def _even_parts(contexts: list[torch.Tensor]) -> list[torch.Tensor]:
    """The parts of one image at one length, the shorter ones' last vectors repeated, as A1111 does."""
    length = max(context.shape[1] for context in contexts)
    return [_repeat_last(context, length) for context in contexts]


def _repeat_last(context: torch.Tensor, length: int) -> torch.Tensor:
    lacking = length - context.shape[1]
    return torch.cat([context, context[:, -1:].expand(-1, lacking, -1)], dim=1) if lacking > 0 else context


def _pad_pair(
    positives: list[torch.Tensor], negative: torch.Tensor, inputs: BatchInputs
) -> tuple[list[torch.Tensor], torch.Tensor]:
    if inputs.padding == "repeat":
        length = positives[0].shape[1]
        return positives, _repeat_last(negative, length)[:, :length]
    length = max(positives[0].shape[1], negative.shape[1])
    return [_fill(context, length, inputs) for context in positives], _fill(negative, length, inputs)


def _fill(context: torch.Tensor, length: int, inputs: BatchInputs) -> torch.Tensor:
    lacking = length - context.shape[1]
    if not lacking or inputs.empty is None:
        return context
    return torch.cat([context, inputs.empty.repeat(1, lacking // inputs.empty.shape[1], 1)], dim=1)


def _groups(rows: Sequence[_Row], images: int, inputs: BatchInputs) -> list[list[int]]:
    """The rows' places, by forward pass."""
    by_length: dict[tuple[int, bool], list[int]] = {}
    for place, row in enumerate(rows):
        apart = not inputs.together and row.kind != "positive"
        by_length.setdefault((row.context.shape[1], apart), []).append(place)
    at_once = _ROWS_PER_IMAGE * images
    return [
        places[start : start + at_once]
        for places in by_length.values()
        for start in range(0, len(places), at_once)
    ]


def _call(rows: Sequence[_Row], places: list[int], inputs: BatchInputs) -> Call:
    chosen = [rows[place] for place in places]
    images = [row.image for row in chosen]
    # Contiguous once here; an expanded tensor would be copied by every cross-attention of every step.
    context = torch.cat([row.context for row in chosen]).to(inputs.dtype).contiguous()
    return Call(
        rows=None if len(places) == len(rows) else torch.tensor(places, device=inputs.device),
        images=torch.tensor(images, device=inputs.device),
        context=context,
        added=_added(chosen, inputs),
        concat=_concat(chosen, inputs),
        kinds=tuple(row.kind for row in chosen),
    )


def _added(chosen: Sequence[_Row], inputs: BatchInputs) -> dict[str, torch.Tensor] | None:
    if inputs.size_ids is None:
        return None
    ids = inputs.size_ids
    sizes = [ids.positive if row.kind == "positive" else ids.negative for row in chosen]
    pooled = [row.pooled for row in chosen if row.pooled is not None]
    return {"text_embeds": torch.cat(pooled).to(inputs.dtype), "time_ids": torch.cat(sizes)}


def _concat(chosen: Sequence[_Row], inputs: BatchInputs) -> torch.Tensor | None:
    picture = inputs.picture
    if picture is None:
        return None
    rows = [picture[row.image if len(picture) > 1 else 0] for row in chosen]
    kept = [torch.zeros_like(p) if row.kind == "blank" else p for p, row in zip(rows, chosen, strict=True)]
    return torch.stack(kept).to(device=inputs.device, dtype=inputs.dtype)
