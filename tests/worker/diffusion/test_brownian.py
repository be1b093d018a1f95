"""Brownian trees: torchsde's numbers, and the laws of the motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from easel_worker.diffusion.brownian import BrownianTree
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.streams import open_stream

CPU = torch.device("cpu")
LOW, HIGH = 0.0291672, 14.6146412
SPANS = [(LOW, HIGH), (1.0, 2.5), (0.25, 1.0), (9.102917, HIGH)]
# torchsde 0.2.6, BrownianTree(LOW, zeros(3), HIGH, entropy=7), drawing on the CPU; and with its draws taken
# from Philox, which is what it gives on an NVIDIA GPU.
VECTORS = {
    "CPU": [
        [-7.72184, 9.41466, -0.20071],
        [-1.04652, 2.36255, 0.76613],
        [-0.07886, 0.89738, -0.04931],
        [-0.39861, 2.93865, -1.96506],
    ],
    "NV": [
        [3.25659, 1.86168, -1.58433],
        [-0.43281, -0.91936, 1.26491],
        [-0.92188, 0.34198, -2.10683],
        [1.63388, 2.80542, 0.30465],
    ],
}


def tree(seed: int = 7, rng: str = "NV", shape: tuple[int, ...] = (3,)) -> BrownianTree:
    return BrownianTree(seed, shape, LOW, HIGH, lambda key: open_stream(key, rng, CPU))


@pytest.mark.parametrize("rng", VECTORS)
def test_increments_are_torchsdes(rng: str) -> None:
    path = tree(rng=rng)
    for (start, end), expected in zip(SPANS, VECTORS[rng], strict=True):
        np.testing.assert_allclose(path.increment(start, end).numpy(), expected, atol=2e-5)


def test_the_order_of_questions_does_not_matter() -> None:
    forward, backward = tree(), tree()
    there = [forward.increment(*span) for span in SPANS]
    back = [backward.increment(*span) for span in reversed(SPANS)]
    for one, other in zip(there, reversed(back), strict=True):
        assert torch.equal(one, other)


def test_increments_add_up() -> None:
    path = tree(shape=(4, 8, 8))
    parts = path.increment(0.5, 3.0) + path.increment(3.0, 3.1) + path.increment(3.1, 9.0)
    torch.testing.assert_close(parts, path.increment(0.5, 9.0), atol=1e-5, rtol=1e-5)


def test_an_increment_has_the_variance_of_its_length() -> None:
    path = tree(shape=(4, 64, 64))
    early, late = path.increment(0.1, 1.1), path.increment(1.1, 5.1)
    assert float(early.var()) == pytest.approx(1.0, abs=0.05)
    assert float(late.var()) == pytest.approx(4.0, abs=0.2)
    assert abs(float((early * late).mean())) < 0.05


def test_what_lies_outside_counts_as_the_ends() -> None:
    path = tree()
    assert torch.equal(path.increment(0.0, 100.0), path.increment(LOW, HIGH))
    assert path.increment(20.0, 30.0).abs().max() == 0


def test_noise_is_of_unit_variance_and_points_down() -> None:
    noise = NoiseSource((7,), (3,), rng="CPU", device=CPU).brownian(LOW, HIGH)
    expected = -np.array(VECTORS["CPU"][1]) / 1.5**0.5
    np.testing.assert_allclose(noise(2.5, 1.0)[0].numpy(), expected, atol=2e-5)
    assert torch.equal(noise(1.0, 2.5), -noise(2.5, 1.0))


def test_an_image_has_the_same_path_alone_and_in_a_batch() -> None:
    shape = (4, 8, 8)
    batch = NoiseSource((5, 6), shape, device=CPU).brownian(LOW, HIGH)
    alone = NoiseSource((6,), shape, device=CPU).brownian(LOW, HIGH)
    for sigma, target in ((HIGH, 5.0), (5.0, 2.0), (2.0, LOW)):
        assert torch.equal(batch(sigma, target)[1], alone(sigma, target)[0])


def test_any_seed_has_a_path() -> None:
    for seed in (0, -1, 2**64 - 1, 2**70):
        assert torch.isfinite(tree(seed).increment(1.0, 2.0)).all()
