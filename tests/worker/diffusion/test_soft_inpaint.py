"""Soft inpainting's blend of a denoised latent with the init latent."""

from __future__ import annotations

import pytest
import torch

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.soft_inpaint import SoftInpaint

SHAPE = (2, 4, 5, 7)


def latents(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def length(tensor: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(tensor, dim=1)


@pytest.mark.parametrize("sigma", [0.0, 0.03, 1.0, 14.6, 5000.0])
@pytest.mark.parametrize("scale", [0.0, 0.5, 8.0])
def test_black_keeps_and_white_repaints_at_every_noise_level(sigma: float, scale: float) -> None:
    init, denoised = latents(0), latents(1)
    soft = SoftInpaint(scale=scale)
    assert torch.equal(soft.blend(denoised, init, torch.zeros(5, 7), sigma), init)
    assert torch.equal(soft.blend(denoised, init, torch.ones(5, 7), sigma), denoised)


def test_grey_lets_go_of_the_picture_as_the_noise_falls() -> None:
    soft = SoftInpaint()
    shares = [float(soft.strength(torch.tensor([0.5]), sigma)) for sigma in (14.6, 4.0, 1.0, 0.1, 0.0)]
    assert shares == pytest.approx([0.5 ** (0.5 * sigma) for sigma in (14.6, 4.0, 1.0, 0.1, 0.0)])
    assert shares == sorted(shares)


def test_power_and_scale_shape_the_schedule() -> None:
    half = torch.tensor([0.5])
    assert float(SoftInpaint(power=0.0, scale=1.0).strength(half, 9.0)) == pytest.approx(0.5)
    assert float(SoftInpaint(power=2.0, scale=1.0).strength(half, 2.0)) == pytest.approx(0.5**4)
    assert float(SoftInpaint(scale=3.0).strength(half, 1.0)) == pytest.approx(0.5**3)


def test_parallel_vectors_of_one_length_mix_linearly() -> None:
    init = latents(0)
    blended = SoftInpaint().blend(init, init, torch.full((5, 7), 0.4), 1.0)
    assert blended == pytest.approx(init, rel=1e-3)


@pytest.mark.parametrize("detail", [1.0, 4.0, 32.0])
def test_lengths_are_the_power_mean(detail: float) -> None:
    init, denoised, mask = latents(0), latents(1) * 3, torch.full((5, 7), 0.5)
    soft = SoftInpaint(power=0.0, scale=1.0, detail=detail)
    blended = soft.blend(denoised, init, mask, 1.0)
    mean = (0.5 * length(init) ** detail + 0.5 * length(denoised) ** detail) ** (1 / detail)
    torch.testing.assert_close(length(blended), mean, rtol=2e-3, atol=0)
    straight = torch.lerp(init, denoised, 0.5)
    cosine = torch.nn.functional.cosine_similarity(blended, straight, dim=1)
    assert float(cosine.min()) > 0.9999


def test_more_detail_goes_towards_the_longer_vector() -> None:
    init, denoised, mask = latents(0), latents(1) * 3, torch.full((5, 7), 0.5)
    lengths = [
        float(length(SoftInpaint(detail=detail).blend(denoised, init, mask, 1.0)).mean())
        for detail in (1.0, 2.0, 4.0, 8.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 1.1 * lengths[0]


def test_no_value_overflows() -> None:
    zero = torch.zeros(SHAPE)
    soft = SoftInpaint(detail=32.0)
    for init, denoised in ((zero, zero), (zero, latents(0)), (latents(0) * 1e6, latents(1) * 1e-6)):
        assert torch.isfinite(soft.blend(denoised, init, torch.full((5, 7), 0.5), 14.6)).all()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"power": -1.0}, "mask blend power -1.0"),
        ({"scale": float("nan")}, "mask blend scale nan"),
        ({"detail": 0.0}, "inpaint detail preservation 0.0"),
    ],
)
def test_arguments_without_a_meaning_are_named(fields: dict[str, float], name: str) -> None:
    with pytest.raises(JobError, match=name):
        SoftInpaint(**fields)
