"""ControlNet over HTTP: what the extension's own web tests ask, as far as it needs no published weights."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from easel_worker.diffusion.random_model import build_random_checkpoint

from ..small_models.control import add_control
from .running import Running, body_of, picture, running

CANNY = "control_v11p_sd15_canny"
TXT2IMG, IMG2IMG, DETECT = "/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/controlnet/detect"
FREE = (
    *("none", "canny", "invert", "blur_gaussian", "scribble_xdog", "shuffle", "threshold", "color"),
    *("tile_resample", "tile_colorfix", "tile_colorfix+sharp", "recolor_luminance", "recolor_intensity"),
    *("reference_only", "reference_adain", "reference_adain+attn", "lineart_standard"),
)
"""Modules that need neither weights nor a mask."""


@pytest.fixture(scope="module")
def easel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With a random model, which is quick, and a random ControlNet for it."""
    data_dir = tmp_path_factory.mktemp("controlnet")
    build_random_checkpoint(data_dir / "models" / "Stable-diffusion" / "tiny-random")
    add_control(data_dir, "tiny-random", CANNY)
    with running(data_dir) as easel:
        yield easel


def text(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def drawn(size: tuple[int, int] = (96, 64)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((20, 10, 70, 50), fill="navy")
    return image


PHOTO = text(drawn())
MASK = text(Image.fromarray(np.pad(np.full((32, 48), 255, np.uint8), ((16, 16), (24, 24)))))


def base_unit(easel: Running, **fields: Any) -> dict[str, Any]:
    """The extension's own."""
    listed = easel.http.get("/controlnet/model_list").json()["model_list"]
    return {
        "control_mode": "Balanced",
        "enabled": True,
        "guidance_end": 1,
        "guidance_start": 0,
        "low_vram": False,
        "pixel_perfect": True,
        "processor_res": 512,
        "resize_mode": "Crop and Resize",
        "threshold_a": -1,
        "threshold_b": -1,
        "weight": 1,
        "module": "canny",
        "model": next(name for name in listed if "sd15_canny" in name),
        "image": PHOTO,
        **fields,
    }


def body(*units: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "prompt": "1girl",
        "steps": 3,
        "width": 64,
        "height": 64,
        "sampler_name": "Euler a",
        "seed": 42,
        "cfg_scale": 7,
        "seed_enable_extras": False,
        "override_settings": {},
        "override_settings_restore_afterwards": False,
        "s_tmax": None,
        "comments": {},
        "alwayson_scripts": {"ControlNet": {"args": list(units)}},
        **fields,
    }


def images(easel: Running, *units: dict[str, Any], **fields: Any) -> list[Image.Image]:
    path = IMG2IMG if "init_images" in fields else TXT2IMG
    response = easel.http.post(path, json=body(*units, **fields))
    assert response.status_code == 200, response.text
    return [picture(image) for image in response.json()["images"]]


@pytest.mark.parametrize("start", [{}, {"init_images": [PHOTO]}], ids=["txt2img", "img2img"])
def test_generation(easel: Running, start: dict[str, Any]) -> None:
    unit = base_unit(easel)
    assert len(images(easel, **start)) == 1, "no unit"
    for accepted in (
        {"foo": True, "is_ui": False},
        {"save_detected_map": True},
        {"module": "reference_only", "model": "None"},
        {"mask_image": MASK},
        {"module": "inpaint_only", "mask_image": MASK},
        {"module": "inpaint_only", "resize_mode": "Resize and Fill"},
        {"hr_option": "Both"},
    ):
        assert len(images(easel, unit | accepted, **start)) == 2, accepted
    assert len(images(easel, unit | {"save_detected_map": False}, **start)) == 1
    assert len(images(easel, unit, n_iter=2, **start)) == 3
    assert len(images(easel, unit, batch_size=2, **start)) == 3
    assert len(images(easel, unit, unit, **start)) == 3


def test_negative_sliders_are_the_defaults(easel: Running) -> None:
    below = {"processor_res": -100, "threshold_a": -100, "threshold_b": -100}
    fixed = base_unit(easel, pixel_perfect=False, processor_res=512, threshold_a=100, threshold_b=200)
    for one, other in zip(images(easel, fixed | below), images(easel, fixed), strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_hires_answers_a_map_for_each_pass(easel: Running) -> None:
    unit = base_unit(easel, hr_option="Both")
    assert len(images(easel, unit, enable_hr=True, hr_scale=1.5, denoising_strength=0.75)) == 3


def test_the_infotext_is_read_back(easel: Running) -> None:
    answer = easel.http.post(TXT2IMG, json=body(base_unit(easel))).json()
    told = json.loads(answer["info"])
    read = easel.http.post("/sdapi/v1/png-info", json={"image": answer["images"][0]}).json()
    line = read["parameters"]["ControlNet 0"]
    assert line.startswith(f"Module: canny, Model: {CANNY} [")
    assert told["extra_generation_params"]["ControlNet 0"] == line
    assert len(told["infotexts"]) == 1
    assert len(answer["images"]) == 2


def test_what_is_wrong_is_told_with_unit_and_field(easel: Running) -> None:
    for wrong, field in (
        ({"module": "INVALID"}, "module"),
        ({"model": "nobody"}, "model"),
        ({"image": None}, "image"),
        ({"weight": 100}, "weight"),
        ({"guidance_start": 0.8, "guidance_end": 0.2}, "guidance_end"),
    ):
        response = easel.http.post(TXT2IMG, json=body(base_unit(easel, **wrong)))
        assert response.status_code == 422, (wrong, response.text)
        # As FastAPI tells it, or, where only the worker could see it, as A1111 does.
        told = response.json()
        said = told["detail"][0]["loc"][-2:] if isinstance(told["detail"], list) else told["errors"]
        assert said == ["args[0]", field] or f"args[0].{field}: " in said, (wrong, told)


def test_detect_with_every_module_that_needs_no_weights(easel: Running) -> None:
    for module in FREE:
        sent = {"controlnet_module": module, "controlnet_input_images": [PHOTO, PHOTO]}
        response = easel.http.post(DETECT, json=sent)
        assert response.status_code == 200, (module, response.text)
        assert len(response.json()["images"]) == 2, module
    for module in ("inpaint_only", "inpaint"):
        sent = {"controlnet_module": module, "controlnet_input_images": [PHOTO]}
        assert easel.http.post(DETECT, json=sent).status_code == 422
        masked = easel.http.post(DETECT, json=sent | {"controlnet_masks": [MASK]})
        assert masked.status_code == 200, masked.text
        assert len(masked.json()["images"]) == 1


def test_detect_refuses(easel: Running) -> None:
    for module in (
        "INVALID",
        "clip_vision",
        "revision_clipvision",
        "revision_ignore_prompt",
        "ip-adapter-auto",
    ):
        sent = {"controlnet_module": module, "controlnet_input_images": [PHOTO]}
        assert easel.http.post(DETECT, json=sent).status_code == 422, module
    assert easel.http.post(DETECT, json={"controlnet_module": "canny"}).status_code == 422


def test_lists(easel: Running) -> None:
    for alias in ("false", "true"):
        listed = easel.http.get("/controlnet/module_list", params={"alias_names": alias}).json()
        assert set(listed["module_list"]) == set(listed["module_detail"])
    assert set(FREE) <= set(easel.http.get("/controlnet/module_list").json()["module_list"])
    types = easel.http.get("/controlnet/control_types").json()["control_types"]
    assert {"All", "Canny", "Inpaint", "Reference", "Tile", "Recolor"} <= set(types)
    assert types["Canny"]["default_model"].startswith(CANNY)


def test_poses_are_drawn(easel: Running) -> None:
    person = {"pose_keypoints_2d": [value for i in range(18) for value in (10 + i, 20 + i, 1)]}
    pose = {"people": [person], "animals": [], "canvas_width": 64, "canvas_height": 64}
    answer = easel.http.post("/controlnet/render_openpose_json", json=[pose, pose]).json()
    assert answer["info"] == "Success"
    assert len(answer["images"]) == 2
    assert easel.http.post("/controlnet/render_openpose_json", json=[]).json()["info"] != "Success"


def test_a_queued_task_stores_its_maps(easel: Running) -> None:
    sent = body(base_unit(easel), base_unit(easel, module="invert"), n_iter=2)
    sent["alwayson_scripts"]["save_dir"] = "tmp/outputs"
    response = easel.http.post(TXT2IMG, params={"task_id": "mine"}, json=sent)
    assert response.status_code == 200, response.text
    [item] = easel.sink(1)
    parameters = body_of(item)["parameters"]
    masks = parameters["image_mask_url"].split(",")
    assert len(masks) == 2
    for path in masks:
        assert path.startswith("tmp/outputs/controlnet_mask/")
        assert Image.open(easel.data_dir / path).size == (64, 64)
    assert len(parameters["image_url"].split(",")) == 3
