"""Masks through the handler: what is painted, what stays, and the checkpoints that see the mask."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.infotext import parse
from easel_worker.diffusion.errors import JobError

from ..desk import Desk

INSIDE = slice(24, 40)
HARD = {"mask_blur": 0}


def changed(picture: np.ndarray, original: Image.Image) -> np.ndarray:
    """(height, width), where the two differ."""
    return (picture != np.asarray(original)).any(-1)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("only_masked", [True, False])
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "DDIM", "UniPC"])
def test_what_the_mask_keeps_is_kept_bit_for_bit(
    only_masked: bool, sampler: str, desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    answer = desk.img2img(init, mask=mask, inpaint_full_res=only_masked, sampler_name=sampler, **HARD)
    where = changed(answer.pixels[0], init)
    assert not where[np.asarray(mask) == 0].any()
    assert where[np.asarray(mask) == 255].mean() > 0.95


@pytest.mark.parametrize("only_masked", [True, False])
def test_the_blur_softens_the_edge_and_stays_near_it(
    only_masked: bool, desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    fields = {"mask": mask, "inpaint_full_res": only_masked}
    across = changed(desk.img2img(init, mask_blur_x=3, mask_blur_y=0, **fields).pixels[0], init)
    down = changed(desk.img2img(init, mask_blur_x=0, mask_blur_y=3, **fields).pixels[0], init)
    assert across[20:44, 15:20].any()
    assert not across[:20].any()
    assert down[15:20, 20:44].any()
    assert not down[:, :20].any()
    assert not (across | down)[:8].any(), "2.5 sigmas, and then nothing"


def test_an_inverted_mask_paints_the_rest(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    answer = desk.img2img(init, mask=mask, inpainting_mask_invert=1, inpaint_full_res=False, **HARD)
    where = changed(answer.pixels[0], init)
    assert not where[np.asarray(mask) == 255].any()
    assert where[np.asarray(mask) == 0].mean() > 0.9
    assert parse(answer.info["infotexts"][0])["Mask mode"] == "Inpaint not masked"


def test_a_mask_drawn_in_transparency(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    drawn = Image.new("RGBA", (64, 64), "black")
    drawn.putalpha(mask)
    by_alpha = desk.img2img(init, mask=drawn).pixels[0]
    np.testing.assert_array_equal(by_alpha, desk.img2img(init, mask=mask).pixels[0])


def test_a_mask_of_another_size_is_stretched(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    large = mask.resize((128, 128), Image.Resampling.NEAREST)
    where = changed(desk.img2img(init, mask=large, inpaint_full_res=False, **HARD).pixels[0], init)
    assert where[INSIDE, INSIDE].all()
    assert not where[:16].any()


def test_a_blank_mask_is_plain_img2img(desk: Desk, init: Image.Image) -> None:
    blank = desk.img2img(init, mask=Image.new("L", (64, 64)))
    np.testing.assert_array_equal(blank.pixels[0], desk.img2img(init).pixels[0])
    assert "Mask blur" not in blank.info["infotexts"][0]


def test_masked_contents_differ_and_are_told(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    answers = [
        desk.img2img(init, mask=mask, inpainting_fill=content, inpaint_full_res=False) for content in range(4)
    ]
    told = [parse(answer.info["infotexts"][0])["Masked content"] for answer in answers]
    assert told == ["fill", "original", "latent noise", "latent nothing"]
    for one in range(4):
        for other in range(one):
            inside = [answers[i].pixels[0][INSIDE, INSIDE] for i in (one, other)]
            assert difference(*inside) > 0.05, (one, other)


def test_only_masked_renders_the_region_at_full_size(
    desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    answers = [desk.img2img(init, mask=mask, inpaint_full_res_padding=padding) for padding in (0, 16)]
    assert difference(*(answer.pixels[0][INSIDE, INSIDE] for answer in answers)) > 0.5
    found = parse(answers[1].info["infotexts"][0])
    assert (found["Inpaint area"], found["Masked area padding"]) == ("Only masked", "16")
    large = init.resize((200, 120))
    kept = desk.img2img(large, mask=mask.resize(large.size))
    assert kept.images[0].size == (200, 120), "the picture keeps its own size"


def test_mask_round_decides_about_half_masked_latents(desk: Desk, init: Image.Image) -> None:
    grey = Image.new("L", (64, 64), 120)
    hard, soft = (
        desk.img2img(init, mask=grey, mask_round=on, inpaint_full_res=False).pixels[0] for on in (True, False)
    )
    assert difference(hard, soft) > 0.5


def test_a_latent_mask_is_for_the_latent_alone(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    everywhere = Image.new("L", (64, 64), 255)
    fields = {"inpaint_full_res": False, "inpainting_fill": 1}
    own = desk.img2img(init, mask=mask, latent_mask=everywhere, **fields)
    assert difference(own.pixels[0], desk.img2img(init, mask=mask, **fields).pixels[0]) > 0.1
    assert not changed(own.pixels[0], init)[:8].any()


def test_soft_inpainting_changes_by_degrees_and_is_told(desk: Desk, init: Image.Image) -> None:
    slope = Image.fromarray(np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1)))
    fields = {"mask": slope, "mask_round": False, "inpaint_full_res": False, "inpainting_fill": 1, **HARD}
    args = [True, 1, 0.5, 4, 0, 0.5, 2]
    answer = desk.img2img(init, alwayson_scripts={"soft inpainting": {"args": args}}, **fields)
    assert difference(answer.pixels[0], desk.img2img(init, **fields).pixels[0]) > 0.5
    found = parse(answer.info["infotexts"][0])
    assert found["Soft inpainting enabled"] == "True"
    assert found["Soft inpainting schedule bias"] == "1"
    assert answer.info["extra_generation_params"]["Soft inpainting enabled"] is True


def test_masks_are_returned_behind_the_pictures(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    options = {"return_mask": True, "return_mask_composite": True}
    answer = desk.img2img(init, mask=mask, batch_size=2, override_settings=options, **HARD)
    modes = [image.mode for image in answer.images]
    assert modes == ["RGB", "RGB", "RGB", "RGBA", "RGB", "RGBA"]
    assert len(answer.info["infotexts"]) == 2
    np.testing.assert_array_equal(answer.pixels[2][INSIDE, INSIDE], 255)
    np.testing.assert_array_equal(answer.pixels[2][:4], 0)


def test_each_picture_of_a_batch_is_put_over_its_own_init_image(
    desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    inits = [init, init.rotate(90)]
    for sampler in ("Euler", "DPM fast"):
        answer = desk.img2img(inits, mask=mask, batch_size=2, sampler_name=sampler, **HARD)
        for pixels, own in zip(answer.pixels, inits, strict=True):
            assert not changed(pixels, own)[:20].any()


@pytest.mark.usefixtures("further_channels")
@pytest.mark.parametrize("mode", [0, 3])
def test_an_inpainting_checkpoint_sees_the_mask(mode: int, desk: Desk, init: Image.Image) -> None:
    large = init.resize((96, 80))
    half = Image.new("L", large.size)
    half.paste(255, (0, 0, 48, 80))
    options = {"sd_model_checkpoint": "tiny-inpainting"}
    fields = {"override_settings": options, "resize_mode": mode, "inpaint_full_res": False, **HARD}
    answer = desk.img2img(large, mask=half, **fields)
    assert answer.info["is_using_inpainting_conditioning"] is True
    assert parse(answer.info["infotexts"][0])["Conditional mask weight"] == "1"
    lighter = {**fields, "override_settings": {**options, "inpainting_mask_weight": 0.0}}
    unseen = desk.img2img(large, mask=half, **lighter)
    assert difference(answer.pixels[0][:, :24], unseen.pixels[0][:, :24]) > 0.1
    assert desk.img2img(large, **fields).images[0].size == (64, 64)
    assert desk.txt2img(override_settings=options).images[0].size == (64, 64)


@pytest.mark.usefixtures("further_channels")
def test_instruct_pix2pix_sees_the_picture(desk: Desk, init: Image.Image) -> None:
    options = {"sd_model_checkpoint": "tiny-pix2pix"}
    one, other = (
        desk.img2img(init, image_cfg_scale=scale, denoising_strength=1, override_settings=options)
        for scale in (1.5, 4)
    )
    assert difference(one.pixels[0], other.pixels[0]) > 0.1
    assert parse(other.info["infotexts"][0])["Image CFG scale"] == "4"
    with pytest.raises(JobError, match="use img2img"):
        desk.txt2img(override_settings=options)


def test_a_mask_that_is_no_picture_is_named(desk: Desk, init: Image.Image) -> None:
    with pytest.raises(ContractError) as caught:
        desk.img2img(init, mask="aGVsbG8=")
    assert caught.value.field == "mask"
