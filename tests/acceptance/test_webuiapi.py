"""webuiapi 0.9.17, the most used Python client of A1111's API, unmodified, against a running Easel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import webuiapi
from PIL import Image
from webuiapi import WebUIApi, WebUIApiResult

from ..e2e.running import Running
from .a1111 import ALICE, BOB, gradient, half_mask, pixels
from .service import until

SMALL: dict[str, Any] = {"prompt": "a red circle", "steps": 3, "width": 64, "height": 64, "seed": 7}
LONG: dict[str, Any] = {**SMALL, "width": 256, "height": 256, "steps": 150}
"""More than a test waits for; it is interrupted."""


def client_of(easel: Running, user: tuple[str, str]) -> WebUIApi:
    port = int(easel.url.rpartition(":")[2])
    return WebUIApi(port=port, sampler="Euler a", steps=3, username=user[0], password=user[1])


@pytest.fixture
def api(a1111: Running) -> Iterator[WebUIApi]:
    client = client_of(a1111, ALICE)
    before = client.get_options()
    yield client
    client.set_options(before)
    client.session.close()


class Call:
    """A call that runs beside the test."""

    def __init__(self, call: Any, **fields: Any) -> None:
        self._found: list[WebUIApiResult] = []
        self._thread = threading.Thread(target=lambda: self._found.append(call(**fields)), daemon=True)
        self._thread.start()

    def result(self) -> WebUIApiResult:
        self._thread.join(60)
        assert self._found, "the call failed or has not ended"
        return self._found[0]


def steps_done(api: WebUIApi) -> int:
    return int(api.get_progress()["state"]["sampling_step"])


def test_txt2img(api: WebUIApi) -> None:
    result = api.txt2img(**SMALL, negative_prompt="blue", cfg_scale=5, n_iter=2)
    assert [image.size for image in result.images] == [(64, 64)] * 2
    assert result.info["all_seeds"] == [7, 8]
    assert result.info["sampler_name"] == "Euler a"
    assert result.parameters["negative_prompt"] == "blue"
    assert result.parameters["scheduler"] == "automatic", "what it sends is echoed"
    again = api.txt2img(**{**SMALL, "seed": 8}, negative_prompt="blue", cfg_scale=5)
    assert abs(pixels(again.image) - pixels(result.images[1])).max() <= 1


def test_png_info(api: WebUIApi) -> None:
    result = api.txt2img(**SMALL)
    told = api.png_info(result.image)
    assert told.info == result.info["infotexts"][0]
    assert told.parameters["Seed"] == "7"


def test_hires_fix(api: WebUIApi) -> None:
    for upscaler in (webuiapi.HiResUpscaler.Latent, webuiapi.HiResUpscaler.Lanczos):
        result = api.txt2img(
            **SMALL,
            enable_hr=True,
            hr_scale=1.5,
            hr_upscaler=upscaler,
            hr_second_pass_steps=2,
            denoising_strength=0.5,
        )
        assert result.image.size == (96, 96)
        (infotext,) = result.info["infotexts"]
        for fact in (
            "Size: 64x64",
            "Denoising strength: 0.5",
            "Hires upscale: 1.5",
            "Hires steps: 2",
            f"Hires upscaler: {upscaler.value}",
        ):
            assert fact in infotext


def test_img2img(api: WebUIApi) -> None:
    start = gradient()
    near, far = (
        api.img2img(images=[start], **SMALL, denoising_strength=strength).image for strength in (0.1, 1.0)
    )
    assert near.size == far.size == (64, 64)
    change = [np.abs(pixels(image) - pixels(start)).mean() for image in (near, far)]
    assert change[0] < change[1], "a small denoising strength keeps more of the picture"
    result = api.img2img(images=[start, start], **SMALL, batch_size=2)
    assert len(result.images) == 2
    assert result.parameters["init_images"] is None


@pytest.mark.parametrize("only_masked", [True, False])
def test_img2img_with_a_mask(api: WebUIApi, only_masked: bool) -> None:
    start = gradient()
    masked, inverted = (
        pixels(
            api.img2img(
                images=[start],
                mask_image=half_mask(),
                mask_blur=0,
                inpainting_fill=1,
                inpaint_full_res=only_masked,
                inpainting_mask_invert=invert,
                **SMALL,
            ).image
        )
        for invert in (0, 1)
    )
    assert (masked[:, :32] == pixels(start)[:, :32]).all(), "what is not masked stays as it is"
    assert (masked[:, 32:] != pixels(start)[:, 32:]).any()
    assert (inverted[:, 32:] == pixels(start)[:, 32:]).all()
    assert (inverted[:, :32] != pixels(start)[:, :32]).any()


def test_sd_upscale(api: WebUIApi) -> None:
    result = api.img2img(
        images=[gradient()], **SMALL, script_name="SD upscale", script_args=["", 8, "Lanczos", 2.0]
    )
    assert result.image.size == (128, 128)


def test_extras(api: WebUIApi) -> None:
    single = api.extra_single_image(gradient(), upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
    assert single.image.size == (128, 128)
    assert single.info.startswith("<")
    wanted = np.asarray(gradient().resize((128, 128), Image.Resampling.LANCZOS)).astype(int)
    assert abs(pixels(single.image) - wanted).max() <= 1
    sized = {"resize_mode": 1, "upscaling_resize_w": 96, "upscaling_resize_h": 32}
    batch = api.extra_batch_images([gradient(), gradient((32, 32))], upscaler_1="Lanczos", **sized)
    assert [image.size for image in batch.images] == [(96, 32)] * 2


def test_options(api: WebUIApi) -> None:
    assert api.set_options({"CLIP_stop_at_last_layers": 2}) is None
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2
    assert "Clip skip: 2" in api.txt2img(**SMALL).info["infotexts"][0]
    once = api.txt2img(**SMALL, override_settings={"CLIP_stop_at_last_layers": 1}).info
    assert "Clip skip" not in once["infotexts"][0]
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2, "an override is for one request"
    whole = api.get_options()
    assert api.set_options({**whole, "CLIP_stop_at_last_layers": 1}) is None, "all of it may be sent back"


def test_choosing_a_model(api: WebUIApi) -> None:
    names = api.util_get_model_names()
    assert [name.split(" [")[0] for name in names] == ["deliberate_v2", "easel-shapes"]
    api.util_set_model("deliberate")
    assert api.util_get_current_model() == names[0]
    assert api.txt2img(**SMALL).info["sd_model_name"] == "deliberate_v2"
    api.util_set_model("easel-shapes")
    assert api.txt2img(**SMALL).info["sd_model_name"] == "easel-shapes"


def test_lists(api: WebUIApi) -> None:
    assert {"Euler a", "DPM++ 2M", "UniPC"} <= set(api.util_get_sampler_names())
    assert len(api.util_get_sampler_names()) == 20
    assert {"automatic", "karras", "beta"} <= set(api.util_get_scheduler_names())
    assert [item["name"] for item in api.get_upscalers()][:3] == ["None", "Lanczos", "Nearest"]
    assert len(api.get_latent_upscale_modes()) == 6
    assert {item["name"] for item in api.get_face_restorers()} == {"CodeFormer", "GFPGAN"}
    assert any(item["name"] == "R-ESRGAN 4x+" for item in api.get_realesrgan_models())
    for empty in (api.get_hypernetworks, api.get_sd_vae, api.get_prompt_styles):
        assert empty() == []
    assert [item["name"] for item in api.get_loras()] == ["easel-shapes-arrow", "easel-shapes-striped"]
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_memory()["ram"]["total"] > 0
    assert api.get_cmd_flags()["api"] is True
    assert api.refresh_checkpoints() is None
    scripts = api.get_scripts()
    assert "x/y/z plot" in scripts["txt2img"]
    assert "sd upscale" in scripts["img2img"]


def test_a_style_of_the_data_directory(api: WebUIApi, a1111: Running) -> None:
    styles = a1111.data_dir / "styles.csv"
    styles.write_text('name,prompt,negative_prompt\nround,"{prompt}, round",square\n')
    try:
        assert api.get_prompt_styles() == [
            {"name": "round", "prompt": "{prompt}, round", "negative_prompt": "square"}
        ]
        info = api.txt2img(**SMALL, styles=["round"]).info
    finally:
        styles.unlink()
    assert (info["prompt"], info["negative_prompt"]) == ("a red circle, round", "square")
    assert info["styles"] == ["round"]


def test_progress_and_interrupt(api: WebUIApi, a1111: Running) -> None:
    assert api.get_progress()["state"]["job_count"] == 0
    api.util_wait_for_ready()  # comes back at once
    call = Call(api.txt2img, **LONG, n_iter=2)
    until(lambda: steps_done(api) > 0, "the task samples")
    busy = api.get_progress()
    assert 0 < busy["progress"] < 1
    assert busy["eta_relative"] > 0
    assert busy["state"]["job"] == "Batch 1 out of 2"
    assert (busy["state"]["job_count"], busy["state"]["sampling_steps"]) == (2, 150)
    other = client_of(a1111, BOB)
    other.interrupt()
    before = steps_done(api)
    until(lambda: steps_done(api) > before, "another user's interrupt changes nothing")
    assert api.get_progress()["state"]["interrupted"] is False
    assert api.interrupt() == {}
    result = call.result()
    assert len(result.images) == 1, "the batch that ran, as far as it got"
    assert result.image.size == (256, 256)


def test_skip(api: WebUIApi) -> None:
    call = Call(api.txt2img, **{**LONG, "width": 128, "height": 128}, n_iter=2)
    until(lambda: steps_done(api) > 0, "the first batch samples")
    assert api.skip() is None
    until(lambda: api.get_progress()["state"]["job_no"] == 1, "the second batch has begun")
    assert api.skip() is None
    assert len(call.result().images) == 2, "each batch is kept as far as it got"


def test_interrogate_without_weights_says_which_are_missing(api: WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="needs a file that is missing"):
        api.interrogate(gradient())


def test_controlnet(api: WebUIApi) -> None:
    assert api.has_controlnet
    model = next(name for name in api.controlnet_model_list() if name.startswith("control_v11p_sd15_canny"))
    unit = webuiapi.ControlNetUnit(image=gradient(), module="canny", model=model)
    plain = api.txt2img(**SMALL)
    result = api.txt2img(**SMALL, controlnet_units=[unit])
    assert [image.size for image in result.images] == [(64, 64)] * 2
    assert not np.array_equal(pixels(result.images[0]), pixels(plain.images[0]))
    assert f"Model: {model}" in result.info["extra_generation_params"]["ControlNet 0"]
    lent = webuiapi.ControlNetUnit(module="canny", model=model)
    assert len(api.img2img(**SMALL, images=[gradient()], controlnet_units=[lent]).images) == 2


def test_controlnet_units_do_not_leak_into_later_calls(api: WebUIApi) -> None:
    # The client puts units into a dict that its calls share, and clears it only where ControlNet is listed.
    unit = webuiapi.ControlNetUnit(image=gradient(), module="canny", model="nobody")
    for call in (api.txt2img, lambda **fields: api.img2img(images=[gradient()], **fields)):
        with pytest.raises(RuntimeError, match="nobody") as refused:
            call(**SMALL, controlnet_units=[unit])
        assert refused.value.args[0] == 422
        assert len(call(**SMALL).images) == 1
    off = webuiapi.ControlNetUnit(image=gradient(), module="canny", enabled=False)
    assert len(api.txt2img(**SMALL, controlnet_units=[off]).images) == 1


def test_a_wrong_password_and_a_wrong_field_are_told(a1111: Running) -> None:
    stranger = client_of(a1111, (ALICE[0], "wrong"))
    with pytest.raises(RuntimeError) as refused:
        stranger.txt2img(**SMALL)
    assert refused.value.args[0] == 401
    assert "Incorrect username or password" in refused.value.args[1]
    with pytest.raises(RuntimeError, match="Sampler not found"):
        client_of(a1111, ALICE).txt2img(**SMALL, sampler_name="no such sampler")
