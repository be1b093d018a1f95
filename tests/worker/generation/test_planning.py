"""From a txt2img body to a job: names, prompts, seeds, sizes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from easel_contract.errors import ContractError
from easel_contract.savedir import SaveDir
from easel_worker.generation.hires import size_of
from easel_worker.generation.job import Hires, Job

from ..desk import Desk

STYLES = 'name,prompt,negative_prompt\nsoft,"{prompt}, pastel",harsh\nloud,neon,\n'


@pytest.fixture(scope="module", autouse=True)
def styles(desk: Desk) -> Iterator[None]:
    path = desk.settings.data_dir / "styles.csv"
    path.write_text(STYLES)
    yield
    path.unlink()


def refusal(desk: Desk, **body: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        desk.plan(**body)
    return caught.value


def hires(desk: Desk, **body: Any) -> tuple[Job, Hires]:
    job = desk.plan(enable_hr=True, **body).job
    assert job.hires is not None
    return job, job.hires


def test_a_vae_that_the_service_is_set_to_is_refused_unless_the_request_has_another(desk: Desk) -> None:
    asked: dict[str, Any] = {"sd_vae": "other.safetensors"}
    task = desk.task()
    stored = replace(task, meta={**task.meta, "options": json.dumps(asked)})
    with pytest.raises(
        ContractError, match=r"no VAE 'other\.safetensors'.*use one of Automatic, None"
    ) as caught:
        desk.handler.prepare(stored)
    assert caught.value.field == "sd_vae"
    for own in ({"alwayson_scripts": {"sd_vae": "None"}}, {"override_settings": {"sd_vae": "Automatic"}}):
        desk.handler.prepare(replace(stored, data=desk.task(**own).data))


def test_image_i_has_the_next_seed_and_the_next_subseed(desk: Desk) -> None:
    pictures = desk.plan(seed=5, subseed=90, batch_size=2, n_iter=2).job.pictures
    assert [(picture.seed, picture.subseed) for picture in pictures] == [(5, 90), (6, 91), (7, 92), (8, 93)]


def test_with_a_variation_all_images_have_one_seed(desk: Desk) -> None:
    job = desk.plan(seed=5, subseed=90, subseed_strength=0.1, batch_size=3).job
    assert [(picture.seed, picture.subseed) for picture in job.pictures] == [(5, 90), (5, 91), (5, 92)]
    assert job.subseed_strength == 0.1


def test_random_seeds_follow_each_other_and_are_not_the_same_each_time(desk: Desk) -> None:
    drawn = [[picture.seed for picture in desk.plan(seed=-1, batch_size=2).job.pictures] for _ in range(4)]
    assert all(second == first + 1 for first, second in drawn)
    assert len({first for first, _ in drawn}) > 1


def test_the_noise_has_another_size_only_if_both_sides_are_given(desk: Desk) -> None:
    assert desk.plan(seed_resize_from_w=32, seed_resize_from_h=48).job.seed_resize_from == (32, 48)
    assert desk.plan(seed_resize_from_w=32).job.seed_resize_from is None


def test_styles_and_comments(desk: Desk) -> None:
    job = desk.plan(
        prompt="a cat # its name is Tom\non a mat", negative_prompt="dog", styles=["soft", "LOUD"]
    ).job
    assert job.pictures[0].prompt == "a cat \non a mat, pastel, neon"
    assert job.pictures[0].negative_prompt == "dog, harsh"


def test_the_hires_passs_prompt_gets_the_styles_too(desk: Desk) -> None:
    _, second = hires(desk, hr_prompt="a # big\ndog", styles=["loud"])
    assert (second.prompt, second.negative_prompt) == ("a \ndog, neon", ""), (
        "the negative one is the picture's"
    )
    _, second = hires(desk, hr_negative_prompt="ugly", styles=["soft"])
    assert (second.prompt, second.negative_prompt) == ("", "ugly, harsh")


UNKNOWN = [
    ({"prompt": "a cat <lora:nobody:0.5>"}, "prompt", "nobody"),
    ({"enable_hr": True, "hr_prompt": "a <lora:noone:1>"}, "hr_prompt", "noone"),
    ({"styles": ["soft", "nonesuch"]}, "styles", "nonesuch"),
    ({"enable_hr": True, "hr_upscaler": "Sharpest"}, "hr_upscaler", "Sharpest"),
    ({"enable_hr": True, "hr_upscaler": "ESRGAN_4x"}, "hr_upscaler", "ESRGAN_4x"),
    ({"restore_faces": True}, "restore_faces", "models/Codeformer"),
    ({"override_settings": {"face_restoration": True}}, "restore_faces", "models/Codeformer"),
    ({"sampler_name": "Oiler"}, "sampler_name", "Oiler"),
    ({"enable_hr": True, "hr_sampler_name": "Oiler"}, "hr_sampler_name", "Oiler"),
    ({"override_settings": {"no_such_option": 1}}, "override_settings.no_such_option", "no_such_option"),
]


@pytest.mark.parametrize(("body", "field", "said"), UNKNOWN, ids=str)
def test_what_is_not_there_is_refused_or_told(
    desk: Desk, lenient: Desk, body: dict[str, Any], field: str, said: str
) -> None:
    error = refusal(desk, **body)
    assert error.field == field
    assert said in str(error)

    warnings = lenient.plan(**body).warnings
    assert len(warnings) == 1
    assert said in warnings[0]


def test_a_lenient_service_renders_without_what_is_not_there(lenient: Desk) -> None:
    job, second = hires(lenient, restore_faces=True, hr_upscaler="Sharpest", prompt="a cat <lora:nobody:1>")
    assert not job.restore_faces
    assert second.upscaler == "Latent"
    assert lenient.txt2img(steps=1, styles=["nonesuch"]).info["warnings"][0].startswith("styles: no style")


def test_tags_are_words_where_networks_are_off(desk: Desk) -> None:
    job = desk.plan(prompt="a <lora:nobody:1>", disable_extra_networks=True).job
    assert not job.networks
    assert job.pictures[0].prompt == "a <lora:nobody:1>"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"refiner_checkpoint": "nobody", "refiner_switch_at": 0.5}, "refiner_checkpoint"),
        ({"enable_hr": True, "hr_checkpoint_name": "nobody"}, "hr_checkpoint_name"),
        ({"override_settings": {"sd_model_checkpoint": "nobody"}}, "sd_model_checkpoint"),
    ],
)
def test_another_model_than_asked_is_never_rendered(
    desk: Desk, lenient: Desk, body: dict[str, Any], field: str
) -> None:
    assert refusal(desk, **body).field == field
    assert refusal(lenient, **body).field == field


def test_a_hires_pass_by_default(desk: Desk) -> None:
    job, second = hires(desk, steps=9)
    assert (second.upscaler, second.steps, second.denoising_strength) == ("Latent", 9, 0.75)
    assert (second.choice, second.model) == (None, None)
    assert size_of(job, second).final_size == (128, 128)
    assert desk.plan().job.hires is None


@pytest.mark.parametrize(
    ("body", "final"),
    [
        ({"hr_scale": 1.5}, (96, 96)),
        ({"hr_scale": 1.3}, (80, 80)),
        ({"hr_resize_x": 128}, (128, 128)),
        ({"hr_resize_y": 96, "width": 128}, (192, 96)),
        ({"hr_resize_x": 128, "hr_resize_y": 96}, (128, 96)),
    ],
    ids=str,
)
def test_sizes_of_the_hires_pass(desk: Desk, body: dict[str, Any], final: tuple[int, int]) -> None:
    assert size_of(*hires(desk, **body)).final_size == final


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"hr_scale": 0.05}, "hr_scale"),
        ({"hr_resize_x": 3}, "hr_resize_x"),
        ({"width": 2048, "hr_resize_x": 8, "hr_resize_y": 2048}, "hr_resize_x"),
        ({"width": 1024, "height": 1024, "hr_scale": 4}, "hr_scale"),
    ],
)
def test_a_hires_pass_has_a_size_that_can_be_rendered(desk: Desk, body: dict[str, Any], field: str) -> None:
    assert refusal(desk, enable_hr=True, **body).field == field


def test_the_old_rule_takes_width_and_height_for_the_final_size(desk: Desk) -> None:
    old = {"override_settings": {"use_old_hires_fix_width_height": True}, "width": 1024, "height": 512}
    job, second = hires(desk, firstphase_width=256, firstphase_height=128, **old)
    assert (job.width, job.height) == (256, 128)
    assert size_of(job, second).final_size == (1024, 512)

    job, second = hires(desk, **old)
    assert (job.width, job.height) == (768, 384), "about 512 x 512 pixels"
    assert size_of(job, second).final_size == (1024, 512)

    job, _ = hires(desk, firstphase_width=32, firstphase_height=32)
    assert (job.width, job.height) == (64, 64), "fields of old clients mean nothing without the option"


def test_fields_of_the_request_win_over_options(desk: Desk) -> None:
    options = {"s_churn": 1.0, "s_noise": 1.05, "eta_ancestral": 0.2, "tiling": True, "s_min_uncond": 2.0}
    plain = desk.plan(override_settings=options).job
    assert (plain.options.s_churn, plain.options.eta_ancestral, plain.tiling) == (1.0, 0.2, True)
    job = desk.plan(override_settings=options, s_churn=5.0, eta=0.9, s_min_uncond=0.0, tiling=False).job
    assert (job.options.s_churn, job.options.s_noise, job.options.s_min_uncond) == (5.0, 1.05, 0.0)
    assert (job.options.eta_ancestral, job.options.eta_ddim, job.tiling) == (0.9, 0.9, False)


def test_an_infotext_fills_what_the_request_leaves_open(desk: Desk) -> None:
    text = (
        "a green star\nNegative prompt: blurry\nSteps: 3, Sampler: Heun, Schedule type: Karras, "
        "CFG scale: 4, Seed: 11, Size: 96x64, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 1.5, "
        "Hires upscaler: Lanczos, Hires sampler: Euler, Sigma churn: 3"
    )
    body = json.dumps({"steps": 5, "infotext": text}).encode()
    job = desk.handler.prepare(replace(desk.task(), data=body)).job
    assert (job.steps.steps, job.steps.choice.sampler, job.steps.choice.scheduler) == (5, "Heun", "karras")
    assert (job.width, job.height, job.pictures[0].seed) == (96, 64, 11)
    assert (job.pictures[0].prompt, job.pictures[0].negative_prompt) == ("a green star", "blurry")
    assert job.hires is not None
    assert (job.hires.scale, job.hires.upscaler, job.hires.denoising_strength) == (1.5, "Lanczos", 0.4)
    assert job.hires.choice is not None
    assert job.hires.choice.sampler == "Euler"
    assert (job.options.CLIP_stop_at_last_layers, job.options.s_churn) == (2, 3)


def test_where_pictures_go_is_resolved(desk: Desk) -> None:
    plan = desk.plan(alwayson_scripts={"save_dir": "out/here"})
    assert isinstance(plan.save_dir, SaveDir)
    assert desk.plan().save_dir is None


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        ({"n_iter": 3}, 3),
        ({"n_iter": 2, "enable_hr": True}, 4),
        ({"n_iter": 2, "enable_hr": True, "denoising_strength": 0}, 2),
        ({"batch_size": 3, "sampler_name": "DPM adaptive"}, 3),
    ],
)
def test_passes_are_counted_beforehand(desk: Desk, body: dict[str, Any], passes: int) -> None:
    assert desk.plan(**body).work.passes == passes
