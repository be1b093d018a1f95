"""Latents made larger, and latents made of parts."""

from __future__ import annotations

import pytest
import torch

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.latents import (
    LATENT_MODES,
    keep_outside,
    noise_content,
    nothing_content,
    resize_latents,
)

ARGUMENTS = {
    "Latent": {"mode": "bilinear"},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic"},
    "Latent (bicubic antialiased)": {"mode": "bicubic", "antialias": True},
    "Latent (nearest)": {"mode": "nearest"},
    "Latent (nearest-exact)": {"mode": "nearest-exact"},
}


def latents(height: int = 4, width: int = 6) -> torch.Tensor:
    return torch.randn((2, 4, height, width), generator=torch.Generator().manual_seed(1))


def half_mask() -> torch.Tensor:
    mask = torch.zeros(4, 6)
    mask[:, 3:] = 1.0
    return mask


def test_the_modes_in_the_order_of_the_listing() -> None:
    assert list(LATENT_MODES) == list(ARGUMENTS)


@pytest.mark.parametrize("size", [(12, 8), (9, 5), (3, 2)])
@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_every_mode_is_torchs_interpolation(name: str, size: tuple[int, int]) -> None:
    expected = torch.nn.functional.interpolate(latents(), size=size[::-1], **ARGUMENTS[name])  # type: ignore[arg-type]
    assert torch.equal(resize_latents(latents(), size, name), expected)


def test_a_row_between_two_is_their_mean() -> None:
    column = torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1)
    assert resize_latents(column, (1, 4)).ravel().tolist() == [0.0, 0.25, 0.75, 1.0]
    assert resize_latents(column, (1, 4), "Latent (nearest)").ravel().tolist() == [0.0, 0.0, 1.0, 1.0]


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(
        JobError, match=r"upscaler: 'Lanczos' is no latent mode, use one of Latent, Latent \("
    ):
        resize_latents(latents(), (8, 8), "Lanczos")


def test_noise_and_nothing_replace_what_is_masked() -> None:
    init, noise, mask = latents(), latents().flip(0), half_mask()
    noisy, empty = noise_content(init, noise, mask), nothing_content(init, mask)
    for made in (noisy, empty):
        assert torch.equal(made[..., :3], init[..., :3])
    assert torch.equal(noisy[..., 3:], noise[..., 3:])
    assert empty[..., 3:].abs().max() == 0
    assert torch.equal(
        noise_content(init, noise, mask * 0.25), init * 0.75 * mask + init * (1 - mask) + noise * 0.25 * mask
    )


def test_the_hard_blend_keeps_the_init_outside() -> None:
    drawn, init = latents(), latents().flip(0)
    kept = keep_outside(drawn, init, half_mask())
    assert torch.equal(kept[..., :3], init[..., :3])
    assert torch.equal(kept[..., 3:], drawn[..., 3:])
