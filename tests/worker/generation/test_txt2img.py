"""txt2img in one pass: each field of a request does what it says to the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ...looking import look
from ..desk import Desk, difference, largest_difference
from .conftest import OTHER, add_variant

RED_CIRCLE = "red circle on blue"
SEEN = {"steps": 12, "width": 128, "height": 128, "sampler_name": "DPM++ 2M"}


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler_name": "Euler a"},
        {"sampler_name": "DPM++ SDE"},
        {"override_settings": {"eta_noise_seed_delta": 31337}, "sampler_name": "Euler a"},
        {"tiling": True},
    ],
    ids=str,
)
def test_image_i_of_a_batch_is_the_picture_of_seed_plus_i(desk: Desk, fields: dict[str, Any]) -> None:
    batch = desk.images(batch_size=2, n_iter=2, **fields)
    assert len(batch) == 4
    for i in (1, 2):
        assert largest_difference(batch[i], desk.image(seed=7 + i, **fields)) <= 1
    assert difference(batch[1], batch[2]) > 0.1


def test_image_i_of_a_variation_is_the_picture_of_subseed_plus_i(desk: Desk) -> None:
    varied = {"subseed_strength": 0.4, "subseed": 100, "sampler_name": "Euler a"}
    batch = desk.images(batch_size=3, **varied)
    for i, one in enumerate(batch):
        assert largest_difference(one, desk.image(**{**varied, "subseed": 100 + i})) <= 1


def test_a_variation_lies_between_its_two_seeds(desk: Desk) -> None:
    plain, other = desk.image(), desk.image(seed=100)
    assert largest_difference(desk.image(subseed=100, subseed_strength=1), other) <= 1
    near = desk.image(subseed=100, subseed_strength=0.1)
    assert 0 < difference(near, plain) < difference(near, other)


def test_noise_of_another_size_keeps_its_middle(desk: Desk) -> None:
    assert largest_difference(desk.image(seed_resize_from_w=64, seed_resize_from_h=64), desk.image()) <= 1
    assert difference(desk.image(seed_resize_from_w=32, seed_resize_from_h=32), desk.image()) > 0.1


def test_styles_are_part_of_the_prompt(desk: Desk) -> None:
    path = desk.settings.data_dir / "styles.csv"
    path.write_text("name,prompt,negative_prompt\nbackground,{prompt} on a blue background,\n")
    try:
        styled = desk.image(prompt="a red circle", styles=["background"], **SEEN)
    finally:
        path.unlink()
    assert look(styled).words == RED_CIRCLE
    np.testing.assert_array_equal(styled, desk.image(**SEEN))


def test_a_tiled_picture_is_no_other_at_its_border_than_inside(desk: Desk) -> None:
    """The latent wrapped by half decodes to the picture wrapped by half."""
    plan = desk.plan(tiling=True)
    assert plan.job.tiling
    tiled, plain = desk.image(tiling=True), desk.image()
    assert difference(tiled, plain) > 0.5
    np.testing.assert_array_equal(desk.image(override_settings={"tiling": True}), tiled)
    np.testing.assert_array_equal(desk.image(), plain)  # the model is as it was


def test_a_refiners_layers_are_tiled_too_and_only_for_its_task(desk: Desk) -> None:
    refined = {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.0}
    of_other = {"override_settings": {"sd_model_checkpoint": OTHER}}
    assert difference(desk.image(tiling=True, **of_other), desk.image(**of_other)) > 0.5
    # Tiled from its first step on, as if it were the checkpoint; the VAE is the same.
    np.testing.assert_array_equal(desk.image(tiling=True, **refined), desk.image(tiling=True, **of_other))
    np.testing.assert_array_equal(desk.image(**refined), desk.image(**of_other))


@pytest.mark.parametrize("by_steps", [False, True])
def test_a_refiner_takes_over_where_it_is_told_to(desk: Desk, by_steps: bool) -> None:
    options = {"refiner_switch_by_sample_steps": by_steps}
    first = desk.image()
    second = desk.image(override_settings={"sd_model_checkpoint": OTHER})
    at = {
        switch: desk.image(refiner_checkpoint=OTHER, refiner_switch_at=switch, override_settings=options)
        for switch in (0.0, 0.5, 1.0)
    }
    np.testing.assert_array_equal(at[0.0], second)
    np.testing.assert_array_equal(at[1.0], first)
    assert difference(at[0.5], first) > 0.5
    assert difference(at[0.5], second) > 0.5
    assert difference(at[0.5], first) < difference(second, first)


def test_models_that_predict_velocity_or_noise_are_read_from_their_folder(desk: Desk) -> None:
    assert look(desk.image(**SEEN)).words == RED_CIRCLE, "the shipped model predicts velocity"
    wrong = desk.image(**SEEN, override_settings={"sd_model_checkpoint": OTHER})
    assert difference(wrong, desk.image(**SEEN)) > 5


def test_levels_without_any_signal_at_the_end(desk: Desk) -> None:
    fields = {**SEEN, "scheduler": "Uniform"}
    rescaled = desk.image(**fields, override_settings={"sd_noise_schedule": "Zero Terminal SNR"})
    assert difference(rescaled, desk.image(**fields)) > 0.2
    assert look(rescaled).words == RED_CIRCLE


def test_a_checkpoint_may_have_such_levels_itself(tmp_path: Path, desk: Desk) -> None:
    add_variant(tmp_path, "rescaled", rescale_betas_zero_snr=True)
    fields = {**SEEN, "scheduler": "Uniform"}
    own = Desk(tmp_path).image(**fields)
    option = desk.image(**fields, override_settings={"sd_noise_schedule": "Zero Terminal SNR"})
    assert largest_difference(own, option) <= 2


@pytest.mark.parametrize(
    "options",
    [
        {"CLIP_stop_at_last_layers": 2},
        {"randn_source": "CPU"},
        {"always_discard_next_to_last_sigma": True},
        {"sigma_max": 5.0},
        {"rho": 3.0},
        {"skip_early_cond": 0.5},
        {"s_churn": 20.0},
        {"s_min_uncond": 4.0},
        {"emphasis": "No norm"},
        {"use_old_karras_scheduler_sigmas": True},
    ],
    ids=str,
)
def test_each_option_changes_the_picture(desk: Desk, options: dict[str, Any]) -> None:
    fields = {"prompt": "a (red:1.4) circle on a blue background", "scheduler": "Karras"}
    assert difference(desk.image(**fields, override_settings=options), desk.image(**fields)) > 0.01


def test_gpu_and_nv_are_the_same_numbers(desk: Desk) -> None:
    np.testing.assert_array_equal(desk.image(override_settings={"randn_source": "GPU"}), desk.image())


def test_several_options_at_once_end_with_their_task(desk: Desk) -> None:
    before = desk.image()
    options = {"CLIP_stop_at_last_layers": 2, "randn_source": "CPU", "eta_noise_seed_delta": 3}
    answer = desk.txt2img(override_settings=options, sampler_name="Euler a")
    line = answer.info["infotexts"][0].splitlines()[-1]
    assert "Clip skip: 2, ENSD: 3, RNG: CPU" in line
    assert answer.info["clip_skip"] == 2
    np.testing.assert_array_equal(desk.image(), before)


def test_fields_of_the_sampler_reach_it(desk: Desk) -> None:
    assert difference(desk.image(s_churn=20), desk.image()) > 0.5
    np.testing.assert_array_equal(desk.image(s_churn=20, s_tmax=0.01), desk.image())
    np.testing.assert_array_equal(desk.image(s_churn=20, s_tmin=99), desk.image())
    np.testing.assert_array_equal(desk.image(sampler_name="Euler a", eta=0), desk.image())
    ancestral = desk.image(sampler_name="Euler a")
    assert difference(desk.image(sampler_name="Euler a", s_noise=0.5), ancestral) > 0.1
