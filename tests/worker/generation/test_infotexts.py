"""What answers and their pictures tell: A1111's keys in its order, and all of it read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easel_contract.infotext import parse
from easel_worker.handlers.base import RunContext
from easel_worker.job import Job

from ...looking import pixels_of
from ..desk import SMALL, Answer, Desk, infotext_of
from .conftest import OTHER


def keys_of(infotext: str) -> list[str]:
    """The keys of its last line, in order; no value of these tests has a comma in quotes."""
    return [pair.split(":")[0].strip() for pair in infotext.splitlines()[-1].split(", ")]


def told(desk: Desk, **body: Any) -> tuple[dict[str, Any], str]:
    """`info` and the picture's infotext."""
    answer = desk.txt2img(**{"steps": 2, **body})
    info = answer.info
    text = infotext_of(answer.body["images"][0])
    assert text == info["infotexts"][0]
    return info, text


def between(text: str, first: str = "Model", last: str = "Version") -> list[str]:
    keys = keys_of(text)
    return keys[keys.index(first) + 1 : keys.index(last)]


def test_nothing_is_told_that_was_not_asked_for(desk: Desk) -> None:
    info, text = told(desk)
    assert between(text) == ["RNG"], "the default is not A1111's"
    assert info["extra_generation_params"] == {}
    assert info["denoising_strength"] is None
    assert parse(text)["Schedule type"] == "Automatic"


def test_all_of_a_hires_pass(desk: Desk) -> None:
    info, text = told(
        desk,
        enable_hr=True,
        hr_scale=1.5,
        hr_second_pass_steps=3,
        hr_upscaler="lanczos",
        hr_sampler_name="Heun",
        hr_scheduler="Karras",
        hr_checkpoint_name=OTHER,
        hr_prompt="a cat",
        hr_negative_prompt="a dog",
        denoising_strength=0.4,
    )
    found = parse(text)
    assert between(text) == [
        "Denoising strength",
        "RNG",
        "Hires upscale",
        "Hires steps",
        "Hires upscaler",
        "Hires sampler",
        "Hires schedule type",
        "Hires checkpoint",
        "Hires prompt",
        "Hires negative prompt",
    ]
    assert (found["Size-1"], found["Size-2"]) == ("64", "64"), "the first pass's"
    assert (found["Denoising strength"], found["Hires upscale"], found["Hires steps"]) == ("0.4", "1.5", "3")
    assert (found["Hires upscaler"], found["Hires checkpoint"]) == ("Lanczos", OTHER)
    assert (found["Hires sampler"], found["Hires schedule type"]) == ("Heun", "Karras")
    assert info["denoising_strength"] == 0.4
    assert list(info["extra_generation_params"]) == between(text, "RNG")


def test_a_hires_pass_without_a_will_of_its_own(desk: Desk) -> None:
    _, text = told(desk, enable_hr=True, hr_resize_x=96, hr_resize_y=64, hr_sampler_name="Euler")
    assert between(text) == ["Denoising strength", "RNG", "Hires resize", "Hires upscaler"]
    found = parse(text)
    assert (found["Hires resize-1"], found["Hires resize-2"]) == ("96", "64")
    assert (found["Denoising strength"], found["Hires upscaler"]) == ("0.75", "Latent")


def test_variations_and_options_stand_in_their_places(desk: Desk) -> None:
    _, text = told(
        desk,
        subseed=9,
        subseed_strength=0.2,
        seed_resize_from_w=96,
        seed_resize_from_h=128,
        sampler_name="Euler a",
        tiling=True,
        eta=0.5,
        s_noise=0.9,
        s_min_uncond=1.5,
        refiner_checkpoint=OTHER,
        refiner_switch_at=0.8,
        override_settings={
            "CLIP_stop_at_last_layers": 2,
            "eta_noise_seed_delta": 31337,
            "randn_source": "CPU",
            "emphasis": "No norm",
            "sigma_max": 9.0,
            "always_discard_next_to_last_sigma": True,
            "sd_noise_schedule": "Zero Terminal SNR",
            "pad_cond_uncond": True,
            "refiner_switch_by_sample_steps": True,
        },
    )
    assert between(text) == [
        "Variation seed",
        "Variation seed strength",
        "Seed resize from",
        "Clip skip",
        "ENSD",
        "RNG",
        "Tiling",
        "Eta",
        "Sigma noise",
        "NGMS",
        "Schedule max sigma",
        "Discard penultimate sigma",
        "Noise Schedule",
        "Pad conds",
        "Refiner",
        "Refiner switch at",
        "Refiner switch by sampling steps",
        "Emphasis",
    ]


FULL = [
    {"sampler_name": "Euler a", "eta": 0.5, "subseed": 9, "subseed_strength": 0.2, "tiling": True},
    {"scheduler": "Karras", "s_churn": 3, "s_noise": 1.05, "styles": ["soft"]},
    {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.5},
    {"override_settings": {"CLIP_stop_at_last_layers": 2, "randn_source": "CPU", "sigma_max": 9.0}},
    {"override_settings": {"sd_noise_schedule": "Zero Terminal SNR", "pad_cond_uncond": True}},
    {"override_settings": {"sd_model_checkpoint": OTHER, "emphasis": "No norm"}},
    {"sampler_name": "UniPC", "override_settings": {"uni_pc_variant": "bh2", "uni_pc_order": 2}},
    {
        "sampler_name": "UniPC",
        "override_settings": {"uni_pc_skip_type": "logSNR", "uni_pc_lower_order_final": False},
    },
    {
        "s_min_uncond": 4,
        "override_settings": {"s_min_uncond_all": True, "skip_early_cond": 0.3, "sgm_noise_multiplier": True},
    },
    {"scheduler": "Karras", "override_settings": {"use_old_karras_scheduler_sigmas": True}},
    {
        "prompt": "[a cat:a dog:0.5], " + "far, " * 40,
        "override_settings": {"use_old_scheduling": True, "comma_padding_backtrack": 0},
    },
    {"override_settings": {"pad_cond_uncond_v0": True}},
    {
        "enable_hr": True,
        "hr_resize_x": 96,
        "hr_upscaler": "Lanczos",
        "hr_second_pass_steps": 3,
        "hr_sampler_name": "Heun",
        "hr_prompt": "a cat, a dog",
        "denoising_strength": 0.5,
        "refiner_checkpoint": OTHER,
        "refiner_switch_at": 0.9,
        "override_settings": {"hires_fix_refiner_pass": "both passes"},
    },
]


@pytest.mark.parametrize("body", FULL, ids=str)
def test_a_picture_can_be_drawn_again_from_its_infotext(desk: Desk, body: dict[str, Any]) -> None:
    styles: Path = desk.settings.data_dir / "styles.csv"
    styles.write_text("name,prompt,negative_prompt\nsoft,pastel,harsh\n")
    try:
        answer = desk.txt2img(**{"prompt": "a (red:1.2) circle", "steps": 3, **body})
    finally:
        styles.unlink()
    [picture] = answer.body["images"]
    again = desk.image(**dict.fromkeys(SMALL), infotext=infotext_of(picture))
    np.testing.assert_array_equal(again, pixels_of(picture))


def test_each_picture_of_a_batch_tells_its_own_seed(desk: Desk) -> None:
    answer = desk.txt2img(steps=2, batch_size=2, enable_hr=True, hr_scale=1.5)
    texts = [infotext_of(picture) for picture in answer.body["images"]]
    assert [parse(text)["Seed"] for text in texts] == ["7", "8"]
    assert texts == answer.info["infotexts"]
    assert all("Hires upscale: 1.5" in text for text in texts)


def test_the_answer_echoes_the_request_with_its_defaults(desk: Desk) -> None:
    parameters = desk.txt2img(steps=1, enable_hr=True, hr_scale=1.5, seed=-1).body["parameters"]
    assert (parameters["seed"], parameters["hr_scale"], parameters["enable_hr"]) == (-1, 1.5, True)
    assert (parameters["hr_upscaler"], parameters["denoising_strength"]) == (None, None)
    assert "init_images" not in parameters


def test_neither_preparing_nor_drawing_waits_for_a_hash_only_the_answer_does(desk: Desk) -> None:
    library = desk.handler._library
    library.hashes._known.clear()
    library.hashes._store = None
    with library.hashes._reading:  # as while another file is read
        rendered, _ = desk.run(steps=1)
        [future] = rendered.plan.hashes.values()
        assert not future.done()
    info = Answer.of(desk.handler.publish(desk.task(), rendered)).info
    assert info["sd_model_hash"] == library.short_hash(rendered.plan.job.model) == future.result()[:10]


def test_the_user_is_the_tokens_name_or_the_uid_that_was_sent(desk: Desk) -> None:
    body = {"steps": 1, "override_settings": {"add_user_name_to_info": True}}
    sent = {**body, "alwayson_scripts": {"uid": "ann"}}
    for fields, user, name in (
        (body, "bob", "bob"),
        (sent, "bob", "bob"),
        (sent, "", "ann"),
        (body, "", None),
    ):
        task = desk.task(**fields)
        task.meta["user"] = user
        rendered = desk.handler.run(
            desk.handler.prepare(task), RunContext(Job(task), lambda job, progress: None)
        )
        text = infotext_of(Answer.of(desk.handler.publish(task, rendered)).body["images"][0])
        assert parse(text).get("User") == name
