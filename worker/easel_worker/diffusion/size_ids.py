"""What SDXL's UNet is told about the picture beside the prompt (Podell et al. 2023, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BASE_NUMBERS, REFINER_NUMBERS = 6, 5
"""How many numbers SDXL and its refiner are told."""


@dataclass(frozen=True, eq=False)
class SizeIds:
    """The numbers for the positive and the negative prompt, float32, (1, 6) or, for the refiner, (1, 5)."""

    positive: torch.Tensor
    negative: torch.Tensor


def base_ids(
    width: int, height: int, *, crop_top: int = 0, crop_left: int = 0, device: torch.device
) -> SizeIds:
    """SDXL base: original size, crop corner, target size, each as (vertical, horizontal), in pixels."""
    ids = torch.tensor(
        [[height, width, crop_top, crop_left, height, width]], dtype=torch.float32, device=device
    )
    return SizeIds(ids, ids)


def refiner_ids(
    width: int,
    height: int,
    *,
    crop_top: int = 0,
    crop_left: int = 0,
    aesthetic: float = 6.0,
    negative_aesthetic: float = 2.5,
    device: torch.device,
) -> SizeIds:
    """SDXL refiner: original size, crop corner, and the aesthetic score that the picture should have.

    The scores are A1111's options sdxl_refiner_high_aesthetic_score and sdxl_refiner_low_aesthetic_score.
    """
    rows = [
        torch.tensor([[height, width, crop_top, crop_left, score]], dtype=torch.float32, device=device)
        for score in (aesthetic, negative_aesthetic)
    ]
    return SizeIds(rows[0], rows[1])
