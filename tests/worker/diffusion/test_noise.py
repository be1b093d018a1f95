"""Noise: the NV stream equals what an NVIDIA GPU draws, streams belong to images, variations of the first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.noise import NoiseSource, Variation, paste_centred, slerp
from easel_worker.diffusion.streams import PhiloxStream, TorchStream, open_stream

CPU = torch.device("cpu")
SHAPE = (4, 8, 8)


def source(*seeds: int, rng: str = "NV", **variation: object) -> NoiseSource:
    return NoiseSource(seeds, SHAPE, rng=rng, device=CPU, variation=Variation(**variation))  # type: ignore[arg-type]


def philox(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return PhiloxStream(seed).normal(shape)


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
    assert not torch.equal(philox(7), philox(7 + 2**32))
    assert torch.equal(philox(7 + 2**64), philox(7))


def test_philox_is_standard_normal() -> None:
    drawn = philox(99, (4, 128, 128))
    assert drawn.dtype == torch.float32
    assert abs(float(drawn.mean())) < 0.02
    assert abs(float(drawn.std()) - 1.0) < 0.02
    assert torch.isfinite(drawn).all()


@pytest.mark.parametrize("rng", ["NV", "CPU", "GPU"])
def test_an_image_has_the_same_noise_alone_and_in_a_batch(rng: str) -> None:
    batch, alone = source(5, 6, 7, rng=rng), source(6, rng=rng)
    for _ in range(3):
        assert torch.equal(batch()[1], alone()[0])


def test_cpu_noise_is_torchs_own() -> None:
    own = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(3))
    assert torch.equal(source(3, rng="CPU")()[0], own)


def test_without_a_gpu_its_noise_is_nvs() -> None:
    assert torch.equal(source(3, rng="GPU")(), source(3, rng="NV")())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 64, 64), (4, 128, 128)])
def test_nv_is_what_a_gpu_draws(seed: int, shape: tuple[int, ...]) -> None:
    ours, theirs = PhiloxStream(seed), TorchStream(seed, torch.device("cuda"))
    for _ in range(3):
        torch.testing.assert_close(ours.normal(shape), theirs.normal(shape).cpu(), atol=1e-5, rtol=1e-5)


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(JobError, match="rng: 'TPU' is unknown, use one of NV, CPU, GPU"):
        open_stream(0, "TPU", CPU)


def test_slerp_turns_each_column_by_its_own_angle() -> None:
    """Checked in float64 with numpy, a channel and a column at a time."""
    low, high, strength = philox(1), philox(2), 0.3
    got = slerp(low, high, strength).double().numpy()
    for channel in range(4):
        for column in range(8):
            one, other = (noise.double().numpy()[channel, :, column] for noise in (low, high))
            angle = np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
            first, second = np.sin((1 - strength) * angle), np.sin(strength * angle)
            expected = (first * one + second * other) / np.sin(angle)
            np.testing.assert_allclose(got[channel, :, column], expected, atol=1e-5)


def test_the_strength_goes_from_the_seed_to_the_subseed() -> None:
    assert torch.equal(source(1, subseeds=(9,), subseed_strength=0.0)()[0], philox(1))
    torch.testing.assert_close(source(1, subseeds=(9,), subseed_strength=1.0)()[0], philox(9))
    halfway = source(1, subseeds=(9,), subseed_strength=0.5)()[0]
    torch.testing.assert_close(halfway, slerp(philox(1), philox(9), 0.5))


def test_parallel_noises_are_mixed_from_the_other_end() -> None:
    same = source(4, subseeds=(4,), subseed_strength=0.25)()[0]
    torch.testing.assert_close(same, philox(4))
    longer = 3.0 * philox(4)
    torch.testing.assert_close(slerp(philox(4), longer, 0.25), 0.25 * philox(4) + 0.75 * longer)


def test_latents_of_one_row_can_be_varied() -> None:
    row = NoiseSource((1,), (4, 1, 8), device=CPU, variation=Variation(subseeds=(2,), subseed_strength=0.5))()
    assert torch.isfinite(row).all()


def test_a_subseed_does_not_move_the_noise_after_the_first() -> None:
    plain, varied = source(1), source(1, subseeds=(9,), subseed_strength=0.5)
    assert not torch.equal(plain(), varied())
    assert torch.equal(plain(), varied())


def test_a_batch_is_varied_image_by_image() -> None:
    batch = source(1, 1, subseeds=(8, 9), subseed_strength=0.4)()
    assert torch.equal(batch[1], source(1, subseeds=(9,), subseed_strength=0.4)()[0])


@pytest.mark.parametrize(
    ("size", "rows", "columns"), [((4, 4, 6), (2, 6), (1, 7)), ((4, 4, 8), (2, 6), (0, 8))]
)
def test_a_smaller_latents_noise_keeps_its_place_in_the_middle(
    size: tuple[int, int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    resized = source(3, seed_resize_from=size)()[0]
    expected = philox(3)
    expected[:, slice(*rows), slice(*columns)] = philox(3, size)
    assert torch.equal(resized, expected)


def test_a_larger_latents_noise_is_cropped_about_its_middle() -> None:
    resized = source(3, seed_resize_from=(4, 12, 10))()[0]
    assert torch.equal(resized, philox(3, (4, 12, 10))[:, 2:10, 1:9])


def test_odd_differences_leave_a_border_of_the_canvas() -> None:
    # Half of an odd difference is rounded down, also below zero: 9 into 8 loses a row at each end.
    pasted = paste_centred(torch.ones(1, 9, 7), torch.zeros(1, 8, 8))
    assert pasted[0].sum(1).tolist() == [7.0] * 7 + [0.0]
    assert pasted[0].sum(0).tolist() == [7.0] * 7 + [0.0]


def test_a_resized_seed_can_be_varied() -> None:
    both = source(3, seed_resize_from=(4, 4, 4), subseeds=(5,), subseed_strength=0.5)()[0]
    mixed = slerp(philox(3, (4, 4, 4)), philox(5, (4, 4, 4)), 0.5)
    torch.testing.assert_close(both[:, 2:6, 2:6], mixed)


def test_the_eta_noise_seed_delta_changes_all_but_the_first_noise() -> None:
    delta, plain, other = source(1, eta_noise_seed_delta=31337), source(1), source(1 + 31337)
    assert torch.equal(delta(), plain())
    assert torch.equal(delta(), other())
    assert torch.equal(delta(), other())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"subseed_strength": 1.5}, "subseed_strength: 1.5 should be from 0 to 1"),
        ({"subseed_strength": float("nan")}, "subseed_strength: nan should be from 0 to 1"),
        ({"subseed_strength": 0.5, "subseeds": (1,)}, "subseeds: one is needed per image"),
        ({"seed_resize_from": (4, 0, 8)}, "seed_resize_from: width and height should be 8 or more"),
    ],
)
def test_variations_that_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(JobError, match=message):
        source(1, 2, **fields)
