"""img2img bodies: every field, what is lenient, and what is refused before anything is queued."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.images import ImageRules
from easel_contract.limits import Limits
from easel_contract.requests import Img2ImgRequest, SoftInpainting, parse_img2img, parse_request


def _png() -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


INIT = _png()
LIMITS = Limits()


def parse(**body: object) -> Img2ImgRequest:
    return parse_img2img(json.dumps({"init_images": [INIT], **body}).encode(), LIMITS)


def refuse(**body: object) -> ContractError:
    with pytest.raises(ContractError) as caught:
        parse(**body)
    return caught.value


def test_defaults_are_a1111s() -> None:
    request = parse()
    assert (request.resize_mode, request.denoising_strength, request.image_cfg_scale) == (0, 0.75, None)
    assert (request.mask, request.latent_mask, request.blur, request.mask_round) == (None, None, (4, 4), True)
    assert (request.inpainting_fill, request.inpaint_full_res, request.inpaint_full_res_padding) == (
        0,
        True,
        0,
    )
    assert request.inpainting_mask_invert is False
    assert (request.initial_noise_multiplier, request.include_init_images) == (None, False)
    assert request.img2img


def test_null_is_the_default_and_unknown_keys_are_ignored() -> None:
    empty = dict.fromkeys(Img2ImgRequest.model_fields)
    assert parse(**{**empty, "init_images": [INIT]}) == parse()
    assert parse(seed_enable_extras=False, outpath_samples="x", overlay_images=[1]) == parse()


def test_the_address_tells_the_kind_of_request() -> None:
    body = json.dumps({"init_images": [INIT]}).encode()
    assert isinstance(parse_request("/sdapi/v1/img2img", body, LIMITS), Img2ImgRequest)
    assert parse_request("/sdapi/v1/png-info", body, LIMITS) is None


def test_a1111s_own_test_payload_is_accepted() -> None:
    request = parse(
        resize_mode=0, denoising_strength=0.75, image_cfg_scale=0, mask_blur=4, inpainting_fill=0,
        inpaint_full_res=False, inpaint_full_res_padding=0, inpainting_mask_invert=False,
        initial_noise_multiplier=0, prompt="example", styles=[], seed=-1, subseed=-1, subseed_strength=0,
        seed_resize_from_h=-1, seed_resize_from_w=-1, sampler_name="Euler a", batch_size=1, n_iter=1, steps=3,
        cfg_scale=7, width=64, height=64, restore_faces=False, tiling=False, do_not_save_samples=False,
        do_not_save_grid=False, negative_prompt="", eta=0, s_churn=0, s_tmax=0, s_tmin=0, s_noise=1,
        override_settings={}, override_settings_restore_afterwards=True, sampler_index="Euler a",
        include_init_images=False, send_images=True, save_images=False, alwayson_scripts={},
    )  # fmt: skip
    assert (request.steps, request.blur, request.initial_noise_multiplier) == (3, (4, 4), 0)


@pytest.mark.parametrize("value", [True, 1, 1.0, "true"])
def test_switches_may_be_numbers(value: object) -> None:
    request = parse(inpaint_full_res=value, inpainting_mask_invert=value)
    assert request.inpaint_full_res is True
    assert request.inpainting_mask_invert is True


@pytest.mark.parametrize("value", [False, 0, "false"])
def test_switches_may_be_zero(value: object) -> None:
    request = parse(inpaint_full_res=value, inpainting_mask_invert=value)
    assert request.inpaint_full_res is False
    assert request.inpainting_mask_invert is False


def test_numbers_may_come_as_text() -> None:
    request = parse(denoising_strength="0.5", resize_mode="2", inpainting_fill="1", mask_blur_x="9")
    assert (request.denoising_strength, request.resize_mode, request.inpainting_fill) == (0.5, 2, 1)
    assert request.blur == (9, 4)


def test_mask_blur_sets_both_directions() -> None:
    assert parse(mask_blur=7, mask_blur_x=1, mask_blur_y=2).blur == (7, 7)
    assert parse(mask_blur=0).blur == (0, 0)
    assert parse(mask_blur_x=1, mask_blur_y=2).blur == (1, 2)


@pytest.mark.parametrize("init", [None, []])
def test_no_init_image_is_404_in_a1111s_words(init: object) -> None:
    error = refuse(init_images=init)
    assert (error.status, error.field, error.message) == (404, "init_images", "Init image not found")


def test_an_image_link_stands_in_for_init_images() -> None:
    link = "https://example.com/a.png"
    request = parse(init_images=[], alwayson_scripts={"image_link": link})
    assert request.pictures == {"alwayson_scripts.image_link": link}
    both = parse(alwayson_scripts={"image_link": link})
    assert both.pictures == {"init_images.0": INIT}, "the picture itself wins"


@pytest.mark.parametrize(("images", "batch_size"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 3)])
def test_init_images_that_fit_the_batch(images: int, batch_size: int) -> None:
    assert len(parse(init_images=[INIT] * images, batch_size=batch_size).pictures) == images


@pytest.mark.parametrize(("images", "batch_size"), [(2, 1), (3, 2), (2, 3)])
def test_init_images_that_do_not_fit_the_batch(images: int, batch_size: int) -> None:
    assert refuse(init_images=[INIT] * images, batch_size=batch_size).field == "init_images"


@pytest.mark.parametrize("field", ["mask", "latent_mask"])
@pytest.mark.parametrize("text", ["not base64!", "file:///etc/passwd", "data:text/html;base64,AAAA"])
def test_a_wrong_picture_is_named(field: str, text: str) -> None:
    assert refuse(**({"mask": INIT} | {field: text})).field == field


def test_the_wrong_one_of_several_init_images_is_named() -> None:
    assert refuse(init_images=[INIT, "not base64!"], batch_size=2).field == "init_images.1"


def test_addresses_are_refused_where_the_operator_says_so() -> None:
    body = json.dumps({"init_images": ["https://example.com/a.png"]}).encode()
    parse_img2img(body, LIMITS)
    with pytest.raises(ContractError) as caught:
        parse_img2img(body, Limits(images=ImageRules(urls=False)))
    assert caught.value.field == "init_images.0"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("denoising_strength", 1.5), ("denoising_strength", "much"), ("denoising_strength", -0.1),
        ("resize_mode", 4), ("resize_mode", -1), ("inpainting_fill", 4), ("mask_blur", -1),
        ("mask_blur_x", 10_000), ("inpaint_full_res", "perhaps"), ("inpaint_full_res_padding", -8),
        ("image_cfg_scale", -1), ("initial_noise_multiplier", 100), ("init_images", "one text"),
        ("init_images", {"0": "a"}), ("mask", 5), ("script_args", {"a": 1}), ("width", 1_000_000),
    ],
)  # fmt: skip
def test_refusals_name_the_field(field: str, value: object) -> None:
    error = refuse(**{field: value})
    assert (error.status, error.field) == (422, field)


def soft(args: object) -> SoftInpainting | None:
    return parse(alwayson_scripts={"Soft inpainting": {"args": args}}).alwayson.soft_inpainting


def test_soft_inpainting_by_position() -> None:
    assert soft([True]) == SoftInpainting(enabled=True)
    assert soft([True, 2, "0.25", 8, 0.5, 1, 3, "more", "still more"]) == SoftInpainting(
        enabled=True,
        mask_blend_power=2,
        mask_blend_scale=0.25,
        inpaint_detail_preservation=8,
        composite_mask_influence=0.5,
        composite_difference_threshold=1,
        composite_difference_contrast=3,
    )
    assert soft([False, 2]) is None
    assert soft([]) is None
    assert parse(alwayson_scripts={"SOFT INPAINTING": {}}).alwayson.soft_inpainting is None


def test_always_on_scripts_that_are_fields() -> None:
    request = parse(
        alwayson_scripts={
            "Sampler": {"args": [7, "Heun", "Karras"]},
            "Seed": {"args": [11, True, 12, 0.5, 64, 32]},
            "Refiner": {"args": [True, "other", 0.6]},
        }
    )
    assert (request.steps, request.choice.sampler, request.choice.scheduler) == (7, "Heun", "karras")
    assert (request.seed, request.subseed, request.subseed_strength) == (11, 12, 0.5)
    assert (request.seed_resize_from_w, request.seed_resize_from_h) == (64, 32)
    assert request.refiner == ("other", 0.6)
    assert parse(alwayson_scripts={"Refiner": {"args": [False, "other", 0.6]}}).refiner is None
    assert parse(alwayson_scripts={"Seed": {"args": [11, False, 12, 0.5]}}).subseed == -1


@pytest.mark.parametrize("name", ["Comments", "extra options", "Hypertile"])
def test_scripts_of_a_stock_a1111_are_accepted(name: str) -> None:
    assert parse(alwayson_scripts={name: {"args": [1, "x"]}}).alwayson.soft_inpainting is None


@pytest.mark.parametrize(
    ("scripts", "field", "message"),
    [
        ({"nonsense": {"args": []}}, "alwayson_scripts.nonsense", "Script 'nonsense' not found"),
        ({"SD upscale": {"args": []}}, "alwayson_scripts.SD upscale", "Cannot have a selectable script"),
        ({"soft inpainting": {"args": 5}}, "alwayson_scripts.soft inpainting.args", "is not a list"),
        ({"soft inpainting": 5}, "alwayson_scripts.soft inpainting", "is not an object"),
        ({"soft inpainting": {"args": [True, "x"]}},
         "alwayson_scripts.soft inpainting.args.mask_blend_power", "number"),
        ({"Seed": {"args": [1, True, 2, "x"]}}, "alwayson_scripts.Seed.args.subseed_strength", "number"),
        ({"image_link": {"a": 1}}, "alwayson_scripts.image_link", "string"),
    ],
)  # fmt: skip
def test_wrong_always_on_scripts_are_named(scripts: object, field: str, message: str) -> None:
    error = refuse(alwayson_scripts=scripts)
    assert (error.status, error.field) == (422, field)
    assert message in error.message


def test_a_latent_mask_alone_would_do_nothing_and_is_refused() -> None:
    found = refuse(latent_mask=INIT)
    assert (found.field, found.status) == ("latent_mask", 422)
