"""The NV stream equals what an NVIDIA GPU draws; streams belong to images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.noise import NoiseSource, PhiloxStream

CPU = torch.device("cpu")


def test_philox_of_seed_0() -> None:
    expected = [
        [-0.92466, -0.42534, -2.64385, 0.14518],
        [-0.12087, -0.57973, -0.62285, -0.32839],
        [-1.07454, -0.36314, -1.67105, 2.26551],
    ]
    np.testing.assert_allclose(PhiloxStream(0).normal((3, 4)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("seed", "expected"),
    [(1, [-0.29628, 2.67645, -0.14085, -0.84410]), (12345, [0.57864, -0.52476, -0.29190, 0.01401])],
)
def test_philox_of_other_seeds(seed: int, expected: list[float]) -> None:
    np.testing.assert_allclose(PhiloxStream(seed).normal((4,)), expected, atol=1e-4)


def test_a_second_call_goes_on_with_the_stream() -> None:
    stream = PhiloxStream(0)
    stream.normal((3, 4))
    np.testing.assert_allclose(stream.normal((2,)), [0.18083, -0.55226], atol=1e-4)


def test_seeds_are_64_bit() -> None:
    low, high = PhiloxStream(7).normal((64,)), PhiloxStream(7 + 2**32).normal((64,))
    assert np.abs(low - high).max() > 0.1
    np.testing.assert_array_equal(PhiloxStream(7 + 2**64).normal((64,)), low)


def test_philox_is_standard_normal() -> None:
    drawn = PhiloxStream(99).normal((4, 128, 128))
    assert drawn.dtype == np.float32
    assert abs(float(drawn.mean())) < 0.02
    assert abs(float(drawn.std()) - 1.0) < 0.02
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("rng", ["NV", "CPU"])
def test_an_image_has_the_same_noise_alone_and_in_a_batch(rng: str) -> None:
    shape = (4, 8, 8)
    batch = NoiseSource((5, 6, 7), shape, rng=rng, device=CPU)
    alone = NoiseSource((6,), shape, rng=rng, device=CPU)
    for _ in range(3):
        assert torch.equal(batch()[1], alone()[0])


def test_cpu_noise_is_torchs_own() -> None:
    drawn = NoiseSource((3,), (4, 8, 8), rng="CPU", device=CPU)()
    assert torch.equal(drawn[0], torch.randn((4, 8, 8), generator=torch.Generator("cpu").manual_seed(3)))


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(JobError, match="rng: 'TPU' is unknown, use one of NV, CPU"):
        NoiseSource((0,), (4, 8, 8), rng="TPU", device=CPU)
