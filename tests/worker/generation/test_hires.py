"""The hires fix: sizes, ways to enlarge, and what the second pass may have for itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_contract.errors import ContractError

from ...looking import look
from ..desk import Desk, Pixels, difference, largest_difference
from .conftest import OTHER

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3, "denoising_strength": 0.5}
MODES = [
    "Latent",  # and "Latent (antialiased)": there is nothing to smooth where a picture grows
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
    "Lanczos",
    "Nearest",
]


def twice(desk: Desk, **body: Any) -> Pixels:
    return desk.image(**{**HIRES, **body})


def enlarged(picture: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def base64_of(picture: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("upscaler", [MODES[0], "lanczos"])
def test_it_is_the_first_picture_made_larger(desk: Desk, upscaler: str) -> None:
    fields = {"sampler_name": "DPM++ 2M", "steps": 10, "width": 96, "height": 96}
    first = desk.image(**fields)
    larger = twice(desk, **fields, hr_resize_x=128, hr_upscaler=upscaler, hr_second_pass_steps=6)
    assert larger.shape == (128, 128, 3)
    assert look(larger).words == "red circle on blue"
    assert difference(larger, enlarged(first, (128, 128))) < 25
    assert difference(larger, enlarged(desk.image(**fields, seed=8), (128, 128))) > difference(
        larger, enlarged(first, (128, 128))
    )


def test_every_way_to_enlarge_draws_its_own(desk: Desk) -> None:
    pictures = [twice(desk, hr_upscaler=mode) for mode in MODES]
    assert all(picture.shape == (96, 96, 3) for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(MODES)
    np.testing.assert_array_equal(twice(desk, hr_upscaler="Latent (antialiased)"), pictures[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler_name": "Euler a"},
        {"sampler_name": "DPM++ SDE", "hr_upscaler": "Lanczos"},
        {"hr_sampler_name": "DPM++ 2M SDE"},
    ],
    ids=str,
)
def test_image_i_of_a_batch_is_the_picture_of_seed_plus_i(desk: Desk, fields: dict[str, Any]) -> None:
    batch = desk.images(batch_size=2, **HIRES, **fields)
    assert largest_difference(batch[1], twice(desk, seed=8, **fields)) <= 1
    assert difference(batch[0], batch[1]) > 0.1


def test_image_i_of_a_variation_is_the_picture_of_subseed_plus_i(desk: Desk) -> None:
    varied = {"subseed_strength": 0.4, "subseed": 100}
    batch = desk.images(batch_size=2, **HIRES, **varied)
    assert largest_difference(batch[1], twice(desk, subseed_strength=0.4, subseed=101)) <= 1


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_no_denoising_only_enlarges(desk: Desk, upscaler: str) -> None:
    larger, seen = (
        twice(desk, denoising_strength=0, hr_upscaler=upscaler),
        desk.run(**{**HIRES, "denoising_strength": 0, "hr_upscaler": upscaler})[1],
    )
    assert (
        largest_difference(larger, twice(desk, denoising_strength=0, hr_upscaler=upscaler, hr_prompt="x"))
        == 0
    )
    assert difference(larger, enlarged(desk.image(), (96, 96))) < 10
    assert max(told.sampling_steps for told in seen.progress) == 4, "the second pass makes no step"
    assert seen.progress[-1].ratio == 1


def test_its_steps_are_those_that_run(desk: Desk) -> None:
    def steps(**fields: Any) -> list[tuple[int, int]]:
        told = desk.run(**{**HIRES, **fields})[1].progress
        return [(one.batch, one.sampling_steps) for one in told if one.stage == "decoding"]

    assert steps() == [(0, 4), (1, 3)]
    assert steps(hr_second_pass_steps=0) == [(0, 4), (1, 4)], "0 is as many as the first pass"
    assert steps(denoising_strength=1.0) == [(0, 4), (1, 3)]


@pytest.mark.parametrize(
    "own",
    [
        {"hr_sampler_name": "Heun"},
        {"hr_scheduler": "Karras"},
        {"hr_prompt": "a green star on a yellow background"},
        {"hr_negative_prompt": "red"},
        {"hr_checkpoint_name": OTHER},
        {"hr_second_pass_steps": 5},
        {"denoising_strength": 0.9},
    ],
    ids=str,
)
def test_what_it_has_for_itself_changes_its_own_pass_only(desk: Desk, own: dict[str, Any]) -> None:
    assert difference(twice(desk, **own), twice(desk)) > 0.01
    same = {**own, "denoising_strength": 0, "hr_checkpoint_name": None}
    assert largest_difference(twice(desk, **same), twice(desk, denoising_strength=0)) == 0


def test_the_ways_to_say_the_same_are_the_same(desk: Desk) -> None:
    same = twice(
        desk,
        hr_sampler_name="Use same sampler",
        hr_scheduler="Use same scheduler",
        hr_checkpoint_name="Use same checkpoint",
        hr_upscaler=None,
    )
    np.testing.assert_array_equal(same, twice(desk))
    np.testing.assert_array_equal(twice(desk, hr_sampler_name="Euler", hr_prompt=""), same)


def test_its_own_prompt_is_drawn(desk: Desk) -> None:
    larger = twice(
        desk,
        steps=10,
        hr_resize_x=128,
        hr_second_pass_steps=10,
        denoising_strength=1.0,
        hr_prompt="a green star on a yellow background",
    )
    assert look(larger).words == "green star on yellow"


def test_a_picture_may_stand_in_for_the_first_pass(desk: Desk) -> None:
    first = desk.image(steps=10)
    given = {**HIRES, "firstpass_image": base64_of(first)}
    rendered, seen = desk.run(**{**given, "hr_upscaler": "Lanczos"})
    [larger] = [np.asarray(shot.image) for shot in rendered.result.shots]
    assert larger.shape == (96, 96, 3)
    assert difference(larger, enlarged(first, (96, 96))) < 15
    assert [one.sampling_steps for one in seen.progress if one.stage == "decoding"] == [3]
    ratios = [one.ratio for one in seen.progress if one.stage == "decoding"]
    assert ratios == [1.0], "only one pass was to come"
    other = desk.image(**{**given, "firstpass_image": base64_of(255 - first)})
    assert difference(other, desk.image(**given)) > 20


def test_a_first_picture_that_is_none_is_named(desk: Desk) -> None:
    with pytest.raises(ContractError) as caught:
        desk.plan(**HIRES, firstpass_image=base64.b64encode(b"GIF89a nothing").decode())
    assert caught.value.field == "firstpass_image"


def test_the_refiner_takes_part_in_the_second_pass_unless_told_otherwise(desk: Desk) -> None:
    def refined(where: str | None) -> Pixels:
        options = {"hires_fix_refiner_pass": where} if where else {}
        return twice(desk, refiner_checkpoint=OTHER, refiner_switch_at=0.0, override_settings=options)

    np.testing.assert_array_equal(refined(None), refined("second pass"))
    np.testing.assert_array_equal(refined("second pass"), twice(desk, hr_checkpoint_name=OTHER))
    only_other = twice(desk, override_settings={"sd_model_checkpoint": OTHER})
    np.testing.assert_array_equal(refined("both passes"), only_other)
    assert difference(refined("first pass"), refined("second pass")) > 0.5
    assert difference(refined("first pass"), refined("both passes")) > 0.1


def test_both_sides_are_reached_by_cutting(desk: Desk) -> None:
    wide = twice(desk, width=96, hr_resize_x=96, hr_resize_y=96)
    assert wide.shape == (96, 96, 3)
    # 144 x 96, of which 24 pixels go on both sides.
    whole = twice(desk, width=96, hr_resize_x=144, hr_resize_y=96, denoising_strength=0)
    cut = twice(desk, width=96, hr_resize_x=96, hr_resize_y=96, denoising_strength=0)
    assert difference(cut[:, 24:-24], whole[:, 48:-48]) < 3


def test_tiles_in_both_passes_and_the_model_is_as_before(desk: Desk) -> None:
    plain = twice(desk)
    assert difference(twice(desk, tiling=True), plain) > 0.5
    np.testing.assert_array_equal(twice(desk), plain)
