"""Teaches the text encoder to read: from the end of a caption it must tell the whole scene.

Stable Diffusion starts from a text encoder that CLIP trained beforehand. Ours has no such past, and the
UNet's gradient alone teaches it slowly which colour belongs to which shape. So linear `Questions` are asked
of the states at the end of the text and of the padding behind it, which the UNet attends to as well:
background, number of shapes, shape, colour and fill of each in reading order, size and place of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch.nn import functional

from easel_shapes.recipe.drawing import Scene
from easel_shapes.recipe.words import COLOURS, FILLS, POSITIONS, SHAPES, SIZE_WORDS

_NOTHING = ""  # the answer about a shape that is not there, or a word that does not fit
_ITEMS = 3
_ANSWERS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "background": tuple(COLOURS),
        "layout": ("single", "row", "column", "three"),
        "size": (_NOTHING, *SIZE_WORDS),
        "position": (_NOTHING, *POSITIONS),
        **{
            f"{what} {place}": (_NOTHING, *words)
            for place in range(_ITEMS)
            for what, words in (("shape", SHAPES), ("colour", tuple(COLOURS)), ("fill", FILLS))
        },
    }
)
QUESTIONS = tuple(_ANSWERS)


class Questions(torch.nn.Module):
    """One linear layer over the text encoder's last state; the answers' scores stand side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.answers = torch.nn.Linear(width, sum(len(answers) for answers in _ANSWERS.values()))

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(n, width) -> for each of `QUESTIONS` (n, answers)."""
        sizes = [len(answers) for answers in _ANSWERS.values()]
        return tuple(torch.split(self.answers(states), sizes, dim=-1))


def true_answers(scene: Scene) -> list[int]:
    """For each of `QUESTIONS` the index of the right answer."""
    items = [*scene.items, *[None] * (_ITEMS - len(scene.items))]
    first = scene.items[0]
    truth = {
        "background": scene.background,
        "layout": scene.layout,
        "size": first.size,
        "position": first.position,
    }
    for place, item in enumerate(items):
        truth[f"shape {place}"] = item.shape if item else _NOTHING
        truth[f"colour {place}"] = item.colour if item else _NOTHING
        truth[f"fill {place}"] = item.fill if item else _NOTHING
    return [_ANSWERS[question].index(truth[question]) for question in QUESTIONS]


def reading_loss(
    questions: Questions, states: torch.Tensor, rows: torch.Tensor, end: int, truth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean cross entropy of the answers, and which of them were right.

    `states`: (captions, 77, width); `rows`: (captions, 77), of which those equal to `end` are the end of the
    text and the padding; `truth`: (captions, questions), negative where a caption says nothing. The second
    value is (places, questions) bool, over all places with an answer.
    """
    caption_of, place = (rows == end).nonzero(as_tuple=True)
    told = truth[caption_of, 0] >= 0
    caption_of, place = caption_of[told], place[told]
    wanted = truth[caption_of]
    scores = questions(states[caption_of, place])
    losses = [
        functional.cross_entropy(score.float(), wanted[:, column], label_smoothing=0.02)
        for column, score in enumerate(scores)
    ]
    right = torch.stack([score.argmax(-1) == wanted[:, column] for column, score in enumerate(scores)], dim=1)
    return torch.stack(losses).mean(), right


def answers_of(scenes: Sequence[Scene], captions: Sequence[str]) -> torch.Tensor:
    """(scenes, questions) int64; -1 where the caption is empty."""
    rows: list[list[Any]] = [
        true_answers(scene) if text else [-1] * len(QUESTIONS)
        for scene, text in zip(scenes, captions, strict=True)
    ]
    return torch.tensor(rows)
