"""The requests that the cloud guide shows, field by field; only the host of the picture is another one.

In the quick run they are smaller: 128 pixels and 5 steps, where the guide has 576 and 20.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..e2e.running import Running, body_of
from ..unit.control_bodies import GUIDE_HOST, GUIDE_UNIT
from .a1111 import IMG2IMG, TXT2IMG, PictureHost

LINK = "https://eas-cache-cn-hangzhou.oss-cn-hangzhou-internal.aliyuncs.com"
ROOT = "/code/stable-diffusion-webui/data-oss/outputs"
NAME = r"\d{4}-\d\d-\d\d/(grid-)?\d{6}-[0-9a-f-]{36}(-\d+)?\.png"

TEXT: dict[str, Any] = {
    "alwayson_scripts": {
        "sd_model_checkpoint": "deliberate_v2.safetensors",
        "save_dir": "/code/stable-diffusion-webui/data-oss/outputs",
        "sd_vae": "Automatic",
    },
    "steps": 20,
    "prompt": "girls",
    "batch_size": 1,
    "n_iter": 2,
    "width": 576,
    "height": 576,
    "negative_prompt": "ugly, out of frame",
}

QUEUED_TEXT: dict[str, Any] = {
    "alwayson_scripts": {
        "sd_model_checkpoint": "deliberate_v2.safetensors",
        "id_task": "14837",
        "uid": "123",
        "save_dir": "tmp/outputs",
    },
    "prompt": "girls",
    "batch_size": 1,
    "n_iter": 2,
    "width": 576,
    "height": 576,
    "negative_prompt": "ugly, out of frame",
}

PICTURE: dict[str, Any] = {
    "alwayson_scripts": {
        "image_link": f"{LINK}/stable-diffusion-cache/tests/boy.png",
        "sd_model_checkpoint": "deliberate_v2.safetensors",
        "sd_vae": "Automatic",
        "save_dir": "/code/stable-diffusion-webui/data-oss/outputs",
    },
    "prompt": "girl",
    "batch_size": 1,
    "n_iter": 2,
    "width": 576,
    "height": 576,
    "negative_prompt": "ugly, out of frame",
    "steps": 20,
    "seed": 111,
    "subseed": 111,
    "subseed_strength": 0,
    "seed_resize_from_h": 0,
    "seed_resize_from_w": 0,
    "seed_enable_extras": False,
    "sampler_name": "DDIM",
    "cfg_scale": 7.5,
    "restore_faces": True,
    "tiling": False,
    "init_images": [],
    "mask_blur": 4,
    "resize_mode": 1,
    "denoising_strength": 0.75,
    "inpainting_mask_invert": 0,
    "inpainting_fill": 0,
    "inpaint_full_res": 0,
    "inpaint_full_res_padding": 32,
}

CONTROLNET: dict[str, Any] = {
    "alwayson_scripts": {
        "sd_model_checkpoint": "deliberate_v2.safetensors",
        "save_dir": "/code/stable-diffusion-webui/data-oss/outputs",
        "controlnet": {"args": [GUIDE_UNIT]},
    },
    "prompt": "girls",
    "batch_size": 1,
    "n_iter": 2,
    "width": 576,
    "height": 576,
    "negative_prompt": "ugly, out of frame",
}

OUTPAINTING = {
    "script_name": "Outpainting mk2",
    "script_args": ["Outpainting", 128, 8, ["left", "right", "up", "down"], 1, 0.05],
}
COMMENTED = {"image_cfg_scale": 1, **OUTPAINTING}
"""What the guide shows commented out."""


OUTPAINTED = 384
"""Side of a picture of 96 pixels with 128 on each side, made a multiple of 64."""

SIDES = pytest.mark.parametrize("side", [128, pytest.param(576, marks=pytest.mark.slow)])


def sized(side: int) -> dict[str, int]:
    """What makes a request of the guide smaller; nothing for its own size."""
    return {} if side == 576 else {"width": side, "height": side, "steps": 5}


def at(request: dict[str, Any], host: PictureHost) -> dict[str, Any]:
    """The request with the picture's host replaced."""
    text = json.dumps(request)
    for link in (LINK, GUIDE_HOST):
        text = text.replace(link, host.url)
    return dict(json.loads(text))


def check_files(easel: Running, parameters: dict[str, Any], root: str, kind: str, side: int) -> None:
    """The answer's paths, grid first, are files of the storage."""
    paths = parameters["image_url"].split(",")
    folders = [f"{root}/{kind}-grids/", *[f"{root}/{kind}-images/"] * (len(paths) - 1)]
    for path, folder in zip(paths, folders, strict=True):
        assert re.fullmatch(re.escape(folder) + NAME, path), path
        stored = easel.data_dir / path.removeprefix("/code/stable-diffusion-webui/data-oss/")
        assert stored.is_file()
    assert Image.open(stored).size == (side, side)


@pytest.fixture
def easel(lenient: Running) -> Running:
    """The guide asks for restored faces; a lenient service leaves that out where its files are missing."""
    lenient.clear()
    return lenient


@SIDES
def test_txt2img_answers_as_the_guide_shows(easel: Running, side: int) -> None:
    response = easel.http.post(TXT2IMG, json=TEXT | sized(side))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert list(answer) == ["images", "parameters", "info"]
    assert answer["images"] == []
    parameters = answer["parameters"]
    assert (parameters["id_task"], parameters["status"], parameters["error_msg"]) == (None, 0, "")
    seeds = [int(seed) for seed in parameters["seed"].split(",")]
    assert seeds == [seeds[0], seeds[0] + 1]
    assert parameters["total_time"] > 0
    assert len(parameters["image_url"].split(",")) == 3, "the grid and two pictures"
    check_files(easel, parameters, ROOT, "txt2img", side)


@SIDES
@pytest.mark.parametrize("script", [{}, COMMENTED], ids=["as shown", "with Outpainting mk2"])
def test_img2img_answers_as_the_guide_shows(
    easel: Running, pictures: PictureHost, script: dict[str, Any], side: int
) -> None:
    response = easel.http.post(IMG2IMG, json=at(PICTURE, pictures) | script | sized(side))
    assert response.status_code == 200, response.text
    parameters = response.json()["parameters"]
    assert (parameters["status"], parameters["error_msg"]) == (0, "")
    assert parameters["seed"].startswith("111")
    check_files(easel, parameters, ROOT, "img2img", OUTPAINTED if script else side)
    assert pictures.asked[-1] == "/stable-diffusion-cache/tests/boy.png"


@SIDES
def test_controlnet_answers_as_the_guide_shows(easel: Running, pictures: PictureHost, side: int) -> None:
    # As shown it makes A1111's 50 steps.
    response = easel.http.post(TXT2IMG, json=at(CONTROLNET, pictures) | sized(side), timeout=900)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["images"] == []
    parameters = answer["parameters"]
    assert (parameters["status"], parameters["error_msg"]) == (0, "")
    assert len(parameters["seed"].split(",")) == 2
    assert len(parameters["image_url"].split(",")) == 3, "the grid and two pictures"
    check_files(easel, parameters, ROOT, "txt2img", side)
    [mask] = parameters["image_mask_url"].split(",")
    assert re.fullmatch(re.escape(ROOT) + r"/controlnet_mask/\d{4}-\d\d-\d\d/\d{5}\.png", mask), mask
    stored = Image.open(easel.data_dir / mask.removeprefix("/code/stable-diffusion-webui/data-oss/"))
    assert stored.size == (side, side)
    assert set(np.unique(np.asarray(stored))) <= {0, 255}, "edges"
    assert pictures.asked[-1] == "/pixabay_images/00008b87bf3ff6742b8cf81c358b9dbc.jpg"


def test_queued_the_results_come_through_the_sink(easel: Running, pictures: PictureHost) -> None:
    sent = {
        "txt2img_0": (TXT2IMG, QUEUED_TEXT | sized(128)),
        "img2img_0": (IMG2IMG, at(PICTURE, pictures) | sized(128)),
        "img2img_1": (IMG2IMG, at(PICTURE, pictures) | sized(128) | OUTPAINTING),
    }
    for task_id, (path, body) in sent.items():
        response = easel.http.post(path, params={"task_id": task_id}, json=body)
        assert response.status_code == 200, response.text
        assert response.text.isdigit()
    items = {item["tags"]["task_id"]: item for item in easel.sink(3)}
    assert items.keys() == sent.keys()
    for task_id, item in items.items():
        assert "lastCode" not in item["tags"]
        parameters = body_of(item)["parameters"]
        assert parameters["status"] == 0
        kind = task_id.partition("_")[0]
        side = OUTPAINTED if task_id == "img2img_1" else 128
        check_files(easel, parameters, "tmp/outputs" if kind == "txt2img" else ROOT, kind, side)
    assert body_of(items["txt2img_0"])["parameters"]["id_task"] == "14837"
