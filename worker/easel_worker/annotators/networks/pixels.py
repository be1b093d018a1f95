"""From a picture to the numbers that a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from easel_worker.annotators.annotation import Pixels

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Means and deviations of ImageNet's pictures, by which most networks were trained."""


def normalised(
    picture: Pixels, device: torch.device, statistics: tuple[tuple[float, ...], tuple[float, ...]]
) -> Tensor:
    """(1, 3, h, w) float32: channels of 0 to 1, less the mean, over the deviation."""
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].to(device, torch.float32) / 255.0
    mean, deviation = (torch.tensor(part, device=device).view(1, 3, 1, 1) for part in statistics)
    return (values - mean) / deviation
