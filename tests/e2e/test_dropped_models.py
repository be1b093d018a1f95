"""Files dropped into the data directory of a running Easel: the next request may name them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from easel_shapes.companions import companion_file
from easel_shapes.recipe.survey import is_striped

from ..looking import look
from .running import Running, picture

SEEN = {"steps": 20, "width": 128, "height": 128, "sampler_name": "DPM++ 2M", "seed": 3}
PROMPT = "a blue square on a white background"


@pytest.fixture
def dropped(easel: Running) -> Iterator[Path]:
    """A checkpoint and a LoRA in sub-folders, as a user copies them in while the service runs."""
    models = easel.data_dir / "models"
    [shipped] = (models / "Stable-diffusion" / "easel-shapes").glob("*.safetensors")
    folders = [models / "Stable-diffusion" / "from the web", models / "Lora" / "patterns"]
    for folder in folders:
        folder.mkdir()
    shutil.copyfile(shipped, folders[0] / "shapes_v2.safetensors")
    shutil.copyfile(companion_file("striped"), folders[1] / "zebra.safetensors")
    yield models
    for folder in folders:
        shutil.rmtree(folder)


def draw(easel: Running, prompt: str, checkpoint: str) -> tuple[Image.Image, dict[str, object]]:
    body = {**SEEN, "prompt": prompt, "override_settings": {"sd_model_checkpoint": checkpoint}}
    response = easel.http.post("/sdapi/v1/txt2img", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    return picture(answer["images"][0]), json.loads(answer["info"])


def test_a_dropped_checkpoint_and_lora_draw_without_a_restart(easel: Running, dropped: Path) -> None:
    models = easel.http.get("/sdapi/v1/sd-models").json()
    assert "from the web_shapes_v2" in [entry["model_name"] for entry in models]
    assert "zebra" in [entry["name"] for entry in easel.http.get("/sdapi/v1/loras").json()]
    plain, told = draw(easel, PROMPT, "shapes_v2")
    assert told["sd_model_name"] == "shapes_v2"
    assert look(plain).words == "blue square on white"
    assert not is_striped(np.asarray(plain))
    striped, told = draw(easel, f"{PROMPT} <lora:zebra:1>", "shapes_v2.safetensors")
    assert look(striped).words == "blue square on white"
    assert is_striped(np.asarray(striped))
    infotexts = told["infotexts"]
    assert isinstance(infotexts, list)
    assert "Lora hashes: " in infotexts[0]
    again, _ = draw(easel, PROMPT, "shapes_v2")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(plain))


def test_what_is_gone_again_is_refused_by_name(easel: Running) -> None:
    body = {**SEEN, "prompt": f"{PROMPT} <lora:zebra:1>"}
    response = easel.http.post("/sdapi/v1/txt2img", json=body)
    assert response.status_code == 422
    assert "zebra" in response.text
