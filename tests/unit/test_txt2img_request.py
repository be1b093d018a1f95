"""Bodies are read leniently where A1111 is lenient, and refused clearly where they cannot be served."""

from __future__ import annotations

import json

import pytest

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import Txt2ImgRequest, parse_txt2img

LIMITS = Limits()


def parse(**body: object) -> Txt2ImgRequest:
    return parse_txt2img(json.dumps(body).encode(), LIMITS)


def refuse(body: bytes) -> ContractError:
    with pytest.raises(ContractError) as caught:
        parse_txt2img(body, LIMITS)
    return caught.value


def test_defaults_are_a1111s() -> None:
    request = parse()
    assert (request.width, request.height, request.steps, request.cfg_scale) == (512, 512, 50, 7.0)
    assert (request.seed, request.batch_size, request.n_iter, request.images) == (-1, 1, 1, 1)
    assert (request.send_images, request.save_images) == (True, False)
    assert request.choice.sampler == "Euler"


def test_null_is_the_default_and_unknown_keys_are_ignored() -> None:
    assert parse(**dict.fromkeys(Txt2ImgRequest.model_fields)) == parse()
    assert parse(seed_enable_extras=False, foo={"bar": 1}) == parse()


def test_numbers_may_come_as_text_or_bool() -> None:
    request = parse(steps="20", width=64.0, batch_size=True)
    assert (request.steps, request.width, request.batch_size) == (20, 64, 1)


@pytest.mark.parametrize("seed", [None, "", "abc", -1])
def test_seeds_that_mean_random(seed: object) -> None:
    assert parse(seed=seed).seed == -1


def test_a1111s_own_test_payload_is_accepted() -> None:
    request = parse(
        batch_size=1, cfg_scale=7, denoising_strength=0, enable_hr=False, eta=0, firstphase_height=0,
        firstphase_width=0, height=64, n_iter=1, negative_prompt="", prompt="example", restore_faces=False,
        s_churn=0, s_noise=1, s_tmax=0, s_tmin=0, sampler_index="Euler a", seed=-1, seed_resize_from_h=-1,
        seed_resize_from_w=-1, steps=3, styles=[], subseed=-1, subseed_strength=0, tiling=False, width=64,
    )  # fmt: skip
    assert (request.choice.sampler, request.steps, request.width) == ("Euler a", 3, 64)


def test_sampler_name_wins_over_sampler_index() -> None:
    assert parse(sampler_name="Heun", sampler_index="Euler a").choice.sampler == "Heun"
    assert parse(sampler_index="Euler a").choice.sampler == "Euler a"


def test_the_clouds_keys_inside_alwayson_scripts() -> None:
    request = parse(
        alwayson_scripts={
            "sd_model_checkpoint": "m",
            "sd_vae": "Automatic",
            "save_dir": "o",
            "id_task": 14837,
            "uid": "u",
        },
        override_settings={"sd_model_checkpoint": "other"},
    )
    assert request.options.id_task == "14837"
    assert request.options.save_dir == "o"
    assert request.checkpoint == "m", "the cloud's key wins"
    assert parse(override_settings={"sd_model_checkpoint": "other"}).checkpoint == "other"


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({"width": 100_000}, "width", 422),
        ({"height": 0}, "height", 422),
        ({"width": "wide"}, "width", 422),
        ({"steps": 10_000}, "steps", 422),
        ({"steps": 0}, "steps", 422),
        ({"batch_size": 99}, "batch_size", 422),
        ({"n_iter": 99}, "n_iter", 422),
        ({"cfg_scale": -1}, "cfg_scale", 422),
        ({"seed": 2**70}, "seed", 422),
        ({"prompt": ["a", "list"]}, "prompt", 422),
        ({"prompt": "x" * 30_000}, "prompt", 422),
        ({"sampler_name": "nonsense"}, "sampler_name", 400),
        ({"scheduler": "nonsense"}, "scheduler", 400),
        ({"enable_hr": True, "hr_scale": 0}, "hr_scale", 422),
        ({"enable_hr": True, "hr_resize_x": 99_999}, "hr_resize_x", 422),
        ({"enable_hr": True, "hr_resize_y": 10**400}, "hr_resize_y", 422),
        ({"firstphase_width": 10**400}, "firstphase_width", 422),
        ({"seed_resize_from_w": 64, "seed_resize_from_h": 7}, "seed_resize_from_h", 422),
        ({"eta": 1.5}, "eta", 422),
        ({"enable_hr": True, "hr_sampler_name": "nonsense"}, "hr_sampler_name", 400),
        ({"enable_hr": True, "hr_scheduler": "nonsense"}, "hr_scheduler", 400),
        ({"enable_hr": True, "firstpass_image": "no picture"}, "firstpass_image", 422),
        ({"firstpass_image": "R0lGODlh"}, "firstpass_image", 422),
        ({"alwayson_scripts": {"image_link": "http://a/b"}}, "alwayson_scripts.image_link", 422),
        ({"hr_second_pass_steps": 10_000}, "hr_second_pass_steps", 422),
        ({"hr_prompt": "x" * 30_000}, "hr_prompt", 422),
        ({"tiling": "maybe"}, "tiling", 422),
        ({"styles": "not a list"}, "styles", 422),
        ({"s_churn": -1}, "s_churn", 422),
        ({"refiner_switch_at": 2}, "refiner_switch_at", 422),
        ({"subseed_strength": 1.5}, "subseed_strength", 422),
        ({"script_name": "sd upscale"}, "script_name", 422),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"enabled": False}, {"module": "canny"}]}}},
         "alwayson_scripts.controlnet.args[1].model", 422),
        ({"alwayson_scripts": {"save_dir": {"a": 1}}}, "alwayson_scripts.save_dir", 422),
        ({"alwayson_scripts": {"save_dir": "../../etc"}}, "alwayson_scripts.save_dir", 422),
        ({"override_settings": {"CLIP_stop_at_last_layers": 99}},
         "override_settings.CLIP_stop_at_last_layers", 422),
    ],
)  # fmt: skip
def test_refusals_name_the_field(body: dict[str, object], field: str, status: int) -> None:
    error = refuse(json.dumps(body).encode())
    assert (error.field, error.status) == (field, status)
    assert error.detail()[0]["loc"] == ["body", *field.split(".")]


def test_all_wrong_fields_are_told_at_once() -> None:
    error = refuse(b'{"width": "a", "steps": "b", "seed": [1]}')
    assert [item["loc"][-1] for item in error.detail()] == ["seed", "steps", "width"]


def test_a_side_within_limits_may_still_be_too_many_pixels() -> None:
    with pytest.raises(ContractError) as caught:
        parse_txt2img(b'{"width": 2048, "height": 2048}', Limits(max_pixels=10**6))
    assert caught.value.field == "width"


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"cfg_scale": NaN}',
        b'{"cfg_scale": Infinity}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refuse(body).status == 422


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_text() -> None:
    assert refuse(b'{"steps": 4, "prompt": "\\uD800"}').field == "prompt"
    assert refuse(b'{"alwayson_scripts": {"id_task": "\\udc00"}}').field == "alwayson_scripts"
    assert parse_txt2img(b'{"prompt": "\\ud83d\\ude00"}', LIMITS).prompt == "\U0001f600"


def test_huge_numbers_are_refused_not_computed() -> None:
    assert refuse(b'{"cfg_scale": 1e999}').field == "cfg_scale"
    assert refuse(b'{"width": ' + b"9" * 5000 + b"}").status == 422


def test_a_hires_pass_may_not_leave_the_limits_by_any_of_its_fields() -> None:
    limits = Limits(max_side=1024, max_pixels=1024 * 512)

    def refused(**fields: object) -> str | None:
        with pytest.raises(ContractError) as caught:
            parse_txt2img(json.dumps({"enable_hr": True, **fields}).encode(), limits)
        return caught.value.field

    assert refused(width=512, height=512, hr_scale=2) == "hr_scale"
    assert refused(width=256, height=256, hr_resize_x=1024) == "hr_resize_x", "the other side follows"
    # What is cut off afterwards has to be rendered before.
    assert refused(width=1024, height=64, hr_resize_x=64, hr_resize_y=512) == "hr_resize_x"
    assert refused(firstphase_width=2048, firstphase_height=64, hr_scale=1) == "firstphase_width"
    assert refused(firstphase_width=1, firstphase_height=64, hr_scale=1) == "firstphase_width"
    legacy = {"use_old_hires_fix_width_height": True}
    body = json.dumps({"enable_hr": True, "width": 1024, "height": 512, "override_settings": legacy})
    assert parse_txt2img(body.encode(), limits).hires_bounds == (1024, 512), "there it is the final size"


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({}, None),
        ({"hr_sampler_name": "Use same sampler", "hr_scheduler": "Use same scheduler"}, None),
        ({"hr_scheduler": "Karras"}, ("Euler", "karras")),
        ({"hr_sampler_name": "DPM++ 2M"}, ("DPM++ 2M", "karras")),
        ({"hr_sampler_name": "DPM++ 2M", "scheduler": "Exponential"}, ("DPM++ 2M", "exponential")),
        ({"hr_sampler_name": "Heun", "sampler_name": "Euler Exponential"}, ("Heun", "exponential")),
        ({"hr_sampler_name": "Heun", "sampler_name": "DPM++ 2M"}, ("Heun", "uniform")),
        ({"hr_sampler_name": "Heun Karras", "scheduler": "Exponential"}, ("Heun", "karras")),
        ({"hr_sampler_name": "DPM++ 2M", "hr_scheduler": "SGM Uniform"}, ("DPM++ 2M", "sgm_uniform")),
    ],
    ids=str,
)
def test_the_hires_passs_own_sampler_takes_over_the_schedule_that_was_asked_for(
    fields: dict[str, object], chosen: tuple[str, str] | None
) -> None:
    choice = parse(enable_hr=True, **fields).hires_choice
    assert (choice and (choice.sampler, choice.scheduler)) == chosen


def test_a_lenient_service_says_what_the_hires_pass_runs_instead() -> None:
    body = b'{"enable_hr": true, "hr_sampler_name": "Oiler", "hr_scheduler": "slow"}'
    request = parse_txt2img(body, Limits(strict=False))
    assert [warning.split(":")[0] for warning in request.warnings] == [
        "Sampler not found",
        "Scheduler not found",
    ]
    assert not parse_txt2img(body.replace(b"true", b"false"), LIMITS).warnings, "unused names hurt nobody"


@pytest.mark.parametrize(
    ("name", "switch", "refiner"),
    [
        ("b", 0.8, ("b", 0.8)),
        ("b", 0, ("b", 0)),
        ("b", 1, None),
        ("b", None, None),
        ("None", 0.8, None),
        ("", 0.8, None),
        (None, 0.8, None),
    ],
)
def test_a_refiner_takes_a_name_and_a_moment(name: object, switch: object, refiner: object) -> None:
    assert parse(refiner_checkpoint=name, refiner_switch_at=switch).refiner == refiner
