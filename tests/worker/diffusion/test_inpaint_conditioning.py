"""The five extra channels of a checkpoint for inpainting."""

from __future__ import annotations

import pytest
import torch

from easel_worker.diffusion.inpaint_conditioning import blank_conditioning, inpaint_conditioning


def encode(picture: torch.Tensor) -> torch.Tensor:
    """Means of 8 x 8 pixels, and a fourth channel: enough to see what was encoded."""
    means = torch.nn.functional.avg_pool2d(picture, 8)
    return torch.cat([means, means.sum(dim=1, keepdim=True)], dim=1)


def half_masked() -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.full((2, 3, 16, 32), 0.8)
    mask = torch.zeros(1, 1, 16, 32)
    mask[..., 16:] = 1.0
    return picture, mask


def test_the_mask_comes_first_and_hides_its_pixels() -> None:
    conditioning = inpaint_conditioning(*half_masked(), encode)
    assert conditioning.shape == (2, 5, 2, 4)
    assert conditioning[:, 0].tolist() == [[[0, 0, 1, 1]] * 2] * 2
    assert conditioning[0, 1, 0].tolist() == pytest.approx([0.8, 0.8, 0.0, 0.0])


def test_a_lower_weight_shows_some_of_it() -> None:
    picture, mask = half_masked()
    shown = inpaint_conditioning(picture, mask, encode, weight=0.25)
    assert shown[0, 1, 0].tolist() == pytest.approx([0.8, 0.8, 0.6, 0.6])
    assert shown[0, 0, 0].tolist() == [0, 0, 1, 1]
    assert torch.equal(inpaint_conditioning(picture, mask, encode, weight=0.0)[:, 1:], encode(picture))


def test_a_soft_mask_is_rounded_unless_told_not_to() -> None:
    picture, mask = half_masked()
    assert inpaint_conditioning(picture, mask * 0.4, encode)[:, 0].max() == 0.0
    soft = inpaint_conditioning(picture, mask * 0.4, encode, hard=False)
    assert soft[0, 0, 0].tolist() == pytest.approx([0.0, 0.0, 0.4, 0.4])
    assert soft[0, 1, 0].tolist() == pytest.approx([0.8, 0.8, 0.48, 0.48])


def test_text_to_image_hides_everything() -> None:
    conditioning = blank_conditioning(torch.zeros(3, 4, 2, 4), encode)
    assert conditioning.shape == (3, 5, 2, 4)
    assert conditioning[:, 0].min() == 1.0
    assert torch.equal(conditioning[:, 1:], encode(torch.zeros(3, 3, 16, 32)))
