"""From a picture to the numbers that a network takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, TypeAlias

import torch
from torch import Tensor

from easel_worker.annotators.annotation import Pixels

Statistics: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Means and deviations of red, green and blue, 0 to 1."""

IMAGENET: Final[Statistics] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet's pictures, by which most networks were trained."""
HALF: Final[Statistics] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""-1 to 1."""


def statistics_of(folder: Path, usual: Statistics) -> Statistics:
    """What a folder of transformers says in its ``preprocessor_config.json``, else `usual`."""
    try:
        told = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
        mean, deviation = (tuple(float(part) for part in told[key]) for key in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError, TypeError):
        return usual
    return (mean, deviation) if len(mean) == len(deviation) == 3 and all(deviation) else usual


def normalised(picture: Pixels, device: torch.device, statistics: Statistics) -> Tensor:
    """(1, 3, h, w) float32: channels of 0 to 1, less the mean, over the deviation."""
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].to(device, torch.float32) / 255.0
    mean, deviation = (torch.tensor(part, device=device).view(1, 3, 1, 1) for part in statistics)
    return (values - mean) / deviation
