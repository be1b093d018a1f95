"""The request field `infotext` fills what a request leaves open."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from easel_contract.errors import ContractError
from easel_contract.infotext import apply_infotext

TEXT = """a cat, (sitting:1.2)
Negative prompt: ugly
Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 11, Size: 640x384, \
Model hash: 6ce0161689, Model: v1-5, VAE: ft.safetensors, Variation seed: 12, Variation seed strength: 0.3, \
Seed resize from: 512x320, Denoising strength: 0.7, Clip skip: 2, ENSD: 31337, RNG: CPU, Tiling: True, \
Hires upscale: 1.5, Hires steps: 9, Hires upscaler: Latent, Hires prompt: "a dog, big", Eta: 0.5, \
Refiner: xl [aaaa], Refiner switch at: 0.8, Version: v1.10.1"""


def test_txt2img_takes_everything_that_is_open() -> None:
    assert apply_infotext({"infotext": TEXT}, TEXT, "txt2img") == {
        "infotext": TEXT,
        "prompt": "a cat, (sitting:1.2)",
        "negative_prompt": "ugly",
        "steps": 30,
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "cfg_scale": 6.5,
        "seed": 11,
        "width": 640,
        "height": 384,
        "subseed": 12,
        "subseed_strength": 0.3,
        "seed_resize_from_w": 512,
        "seed_resize_from_h": 320,
        "denoising_strength": 0.7,
        "tiling": True,
        "enable_hr": True,
        "hr_scale": 1.5,
        "hr_second_pass_steps": 9,
        "hr_upscaler": "Latent",
        "hr_prompt": "a dog, big",
        "eta": 0.5,
        "refiner_checkpoint": "xl [aaaa]",
        "refiner_switch_at": 0.8,
        "override_settings": {
            "sd_vae": "ft.safetensors",
            "CLIP_stop_at_last_layers": 2,
            "eta_noise_seed_delta": 31337,
            "randn_source": "CPU",
            "sd_model_checkpoint": "v1-5 [6ce0161689]",
        },
    }


def test_img2img_takes_the_samplers_the_seeds_and_the_refiners_fields() -> None:
    filled = apply_infotext({}, TEXT, "img2img")
    assert set(filled) == {
        "steps",
        "sampler_name",
        "scheduler",
        "seed",
        "subseed",
        "subseed_strength",
        "seed_resize_from_w",
        "seed_resize_from_h",
        "refiner_checkpoint",
        "refiner_switch_at",
        "eta",
        "override_settings",
    }
    assert filled["override_settings"]["CLIP_stop_at_last_layers"] == 2


def test_what_the_request_says_wins_and_null_says_nothing() -> None:
    body: dict[str, Any] = {
        "prompt": "",
        "steps": 5,
        "seed": None,
        "enable_hr": False,
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_model_checkpoint": "mine"},
        "unknown": "kept",
    }
    before = copy.deepcopy(body)
    filled = apply_infotext(body, TEXT, "txt2img")

    assert body == before
    assert (filled["prompt"], filled["steps"], filled["seed"]) == ("", 5, 11)
    assert (filled["enable_hr"], filled["unknown"]) == (False, "kept")
    assert filled["override_settings"]["CLIP_stop_at_last_layers"] == 1
    assert filled["override_settings"]["sd_model_checkpoint"] == "mine"
    assert filled["override_settings"]["randn_source"] == "CPU"


def test_a_sampler_by_its_older_field_or_with_its_schedule_wins_too() -> None:
    filled = apply_infotext({"sampler_index": "Heun"}, TEXT, "txt2img")
    assert "sampler_name" not in filled
    assert filled["scheduler"] == "Karras"
    assert "scheduler" not in apply_infotext({"sampler_name": "LMS Exponential"}, TEXT, "txt2img")


def test_the_clouds_keys_win_over_the_texts_model() -> None:
    scripts = {"sd_model_checkpoint": "mine", "sd_vae": "None"}
    overrides = apply_infotext({"alwayson_scripts": scripts}, TEXT, "txt2img")["override_settings"]
    assert not {"sd_model_checkpoint", "sd_vae"} & set(overrides)


def test_an_old_name_is_split_and_a_plain_text_is_a_prompt() -> None:
    filled = apply_infotext({}, "x\nSteps: 3, Sampler: LMS Karras, Seed: 1", "txt2img")
    assert (filled["sampler_name"], filled["scheduler"]) == ("LMS", "Karras")
    assert apply_infotext({}, "hello", "txt2img") == {"prompt": "hello", "override_settings": {}}


def test_no_hires_without_a_second_pass() -> None:
    text = "x\nSteps: 3, Seed: 1, Denoising strength: 0.5"
    assert "enable_hr" not in apply_infotext({}, text, "txt2img")
    assert apply_infotext({}, text + ", Hires resize: 64x64", "txt2img")["enable_hr"] is True


def test_the_options_in_force_decide_which_overrides_are_needed() -> None:
    options = {"CLIP_stop_at_last_layers": 2, "randn_source": "CPU", "emphasis": "None", "sigma_min": 0.0}
    text = "a (cat)\nSteps: 3, Seed: 1, Size: 8x8, ENSD: 5"
    overrides = apply_infotext({}, text, "txt2img", options)["override_settings"]
    # The text's silence means A1111's defaults, and `eta_noise_seed_delta` is none of these options.
    assert overrides == {"CLIP_stop_at_last_layers": 1, "randn_source": "GPU", "emphasis": "Original"}
    assert apply_infotext({}, text, "txt2img")["override_settings"] == {"eta_noise_seed_delta": 5}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("Steps: many", "infotext: its 'Steps' is 'many'"),
        ("CFG scale: nan", "'CFG scale' is 'nan'"),
        ("CFG scale: inf", "'CFG scale' is 'inf'"),
        ("Seed: " + "9" * 5000, "'Seed' is '999"),
        ("Tiling: perhaps", "'Tiling' is 'perhaps'"),
        ("Clip skip: x", "'Clip skip' is 'x'"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_key(pair: str, message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        apply_infotext({}, f"x\nA1: 1, B1: 2, C1: 3, {pair}", "txt2img")
    assert (caught.value.field, caught.value.status) == ("infotext", 422)


def test_overrides_that_are_no_object_are_left_to_validation() -> None:
    assert apply_infotext({"override_settings": "x"}, TEXT, "txt2img")["override_settings"] == "x"
