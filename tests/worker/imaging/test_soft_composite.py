"""The composite of soft inpainting: what changed shows, what did not stays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from easel_worker.imaging.soft_composite import SoftComposite, opacity_mask


def latents(change: float, size: int = 12) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two latents whose vectors differ by `change` everywhere."""
    original = np.random.default_rng(0).standard_normal((4, size, size), dtype=np.float32)
    step = np.full((4, 1, 1), change / 2, dtype=np.float32)  # four channels: length = change
    return original, original + step


def mask(level: float, size: int = 12) -> NDArray[np.float32]:
    return np.full((size, size), level, dtype=np.float32)


def smootherstep(share: float) -> float:
    return share**3 * (share * (share * 6 - 15) + 10)


@pytest.mark.parametrize("change", [0.0, 0.1, 0.5, 1.0, 20.0])
def test_without_influence_the_change_alone_decides(change: float) -> None:
    original, result = latents(change)
    odds = (change / 0.5) ** 2
    expected = np.full((12, 12), smootherstep(odds / (1 + odds)))
    for level in (0.0, 0.5, 1.0):
        assert SoftComposite().opacity(original, result, mask(level)) == pytest.approx(expected, abs=1e-3)


def test_half_of_the_result_shows_at_the_threshold() -> None:
    original, result = latents(0.8)
    opacity = SoftComposite(threshold=0.8, contrast=5.0).opacity(original, result, mask(1.0))
    assert opacity == pytest.approx(np.full((12, 12), 0.5), abs=1e-3)


def test_with_full_influence_the_mask_decides_at_its_ends() -> None:
    original, result = latents(0.7)
    composite = SoftComposite(mask_influence=1.0)
    assert composite.opacity(original, result, mask(0.0)).max() < 1e-6
    assert composite.opacity(original, result, mask(1.0)).min() > 0.999
    between = composite.opacity(original, result, mask(0.3))
    assert 0.0 < between.min() <= between.max() < 1.0
    assert SoftComposite(mask_influence=1.0, scale=0.0).opacity(original, result, mask(0.0)).max() < 1e-6


def test_opacity_grows_with_the_change() -> None:
    means = [
        float(SoftComposite().opacity(*latents(change), mask(1.0)).mean()) for change in (0.1, 0.3, 0.6, 2)
    ]
    assert means == sorted(means)
    assert means[-1] - means[0] > 0.9


def test_no_threshold_shows_every_change() -> None:
    original, result = latents(0.01)
    assert SoftComposite(threshold=0.0).opacity(original, result, mask(0.5)).min() > 0.99
    assert SoftComposite(threshold=0.0).opacity(original, original, mask(0.5)).max() < 1e-6


@pytest.mark.parametrize("contrast", [0.0, 2.0, 8.0])
@pytest.mark.parametrize("threshold", [0.0, 8.0])
@pytest.mark.parametrize("change", [0.0, 1e-6, 1e4])
def test_no_setting_overflows(contrast: float, threshold: float, change: float) -> None:
    composite = SoftComposite(1.0, threshold, contrast, scale=8.0)
    for level in (0.0, 0.5, 1.0):
        opacity = composite.opacity(*latents(change), mask(level))
        assert 0.0 <= opacity.min() <= opacity.max() <= 1.0


def test_one_changed_latent_pixel_fades_out_around_it() -> None:
    original, _ = latents(0.0)
    result = original.copy()
    result[:, 6, 6] += 10.0
    opacity = SoftComposite().opacity(original, result, mask(1.0))
    across = opacity[6, 6:10]
    assert (np.diff(across) <= 0).all()
    assert across[0] > 0.5 > across[3]
    assert opacity[0].max() == 0.0


def test_the_mask_of_an_opacity_has_the_pictures_size() -> None:
    opacity = np.zeros((4, 6), dtype=np.float32)
    opacity[:, 3:] = 1.0
    enlarged = opacity_mask(opacity, (48, 32))
    assert (enlarged.mode, enlarged.size) == ("L", (48, 32))
    levels = np.asarray(enlarged)
    assert levels[0, 0] == 0
    assert levels[0, -1] == 255
