"""What is where: UperNet (Xiao et al., 2018) and OneFormer (Jain et al., 2023), by transformers' models in
local folders. Every class has its colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.networks.palettes import ADE20K, COCO
from easel_worker.annotators.networks.pixels import IMAGENET, normalised, statistics_of
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import transformers
from easel_worker.diffusion.tokenizer import load_tokenizer
from easel_worker.interrogate.blip import load_model
from easel_worker.upscaling.errors import WeightsError

TASK = "the task is semantic"
"""What OneFormer is told, so that it names what is where, and does not count things."""
TASK_TOKENS = 77
"""That it is told in, with padding."""


class UperNet:
    """The 150 classes of ADE20K."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        self._folder = paths[0]
        self._device = device
        self._statistics = statistics_of(paths[0], IMAGENET)
        self._model = load_model(transformers.UperNetForSemanticSegmentation, paths[0], device)

    @torch.inference_mode()
    def __call__(self, picture: Pixels, controls: Controls) -> Pixels:
        logits = self._model(pixel_values=normalised(picture, self._device, self._statistics)).logits
        return _coloured(logits, picture, ADE20K, self._folder)


class OneFormer:
    """The 150 classes of ADE20K, or with `coco` the 133 of COCO."""

    def __init__(self, paths: tuple[Path, ...], device: torch.device, *, allow_pickle: bool) -> None:
        self._folder = paths[0]
        self._device = device
        self._statistics = statistics_of(paths[0], IMAGENET)
        self._model = load_model(transformers.OneFormerForUniversalSegmentation, paths[0], device)
        try:
            told = load_tokenizer(paths[0])([TASK], padding="max_length", max_length=TASK_TOKENS)
        except CheckpointError as error:
            raise WeightsError(str(error)) from error
        # Padding is 0 to the model, whatever the tokenizer pads with.
        ids, seen = torch.tensor(told["input_ids"]), torch.tensor(told["attention_mask"])
        self._task = (ids * seen).to(device)

    @torch.inference_mode()
    def __call__(self, picture: Pixels, controls: Controls, *, coco: bool = False) -> Pixels:
        made = self._model(
            pixel_values=normalised(picture, self._device, self._statistics), task_inputs=self._task
        )
        # Each query has a class and a mask; the last class is "nothing".
        classes = made.class_queries_logits.softmax(dim=-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", classes, made.masks_queries_logits.sigmoid())
        return _coloured(scores, picture, COCO if coco else ADE20K, self._folder)


def _coloured(scores: Tensor, picture: Pixels, palette: Pixels, folder: Path) -> Pixels:
    """The colour of the best class of each pixel; `scores`: (1, classes, any height, any width)."""
    if scores.shape[1] != len(palette):
        raise WeightsError(
            f"{folder} tells {scores.shape[1]} classes apart, and this preprocessor needs {len(palette)}"
        )
    size = picture.shape[:2]
    scores = torch.nn.functional.interpolate(scores.float(), size, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(palette[scores[0].argmax(dim=0).cpu().numpy()])
