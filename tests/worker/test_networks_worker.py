"""Networks through a real worker process: dropped in while it runs, and refused by name."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import easel_shapes
from easel_queue import State
from easel_worker.diffusion.checkpoint import load_checkpoint

from ..small_models.lora import write_lora

PATH = "/sdapi/v1/txt2img"
SMALL = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64, "seed": 7}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def painter(
    redis_url: str, open_scene: Callable[..., Any], module_spawn: Callable[..., Any], data_dir: Path
) -> Iterator[Any]:
    scene = open_scene(redis_url, f"networks-{uuid.uuid4().hex[:8]}")
    handlers = "easel_worker.handlers.generation:GenerationHandler"
    worker = module_spawn(scene, handlers=handlers, data_dir=data_dir, torch_threads=1)
    worker.wait_log("is ready")
    yield scene
    assert worker.process.poll() is None, f"the worker died: {worker.log}"


def paint(scene: Any, prompt: str) -> dict[str, Any]:
    entry = scene.result(scene.put({**SMALL, "prompt": prompt}, path=PATH))
    assert "lastCode" not in entry.tags, entry.data
    answer: dict[str, Any] = json.loads(entry.data)
    return answer


def test_a_lora_that_is_dropped_in_works_without_a_restart(painter: Any, data_dir: Path) -> None:
    plain = paint(painter, "a red circle")["images"]
    request_id = painter.put({**SMALL, "prompt": "a red circle <lora:late:1>"}, path=PATH)
    refused = painter.result(request_id)
    assert refused.tags["lastCode"] == "422"
    said = "lora 'late' is not in models/Lora or LyCORIS; there are: easel-shapes-arrow, easel-shapes-striped"
    assert said in json.loads(refused.data)["parameters"]["error_msg"]
    assert painter.status(request_id).state is not State.DEAD

    checkpoint = load_checkpoint(easel_shapes.model_folder(), device=torch.device("cpu"), dtype=torch.float32)
    write_lora(data_dir / "models" / "Lora" / "late.safetensors", checkpoint, strength=0.6)

    worn = paint(painter, "a red circle <lora:late:1>")
    assert worn["images"] != plain
    assert "Lora hashes: late: " in json.loads(worn["info"])["infotexts"][0].replace('"', "")
    assert paint(painter, "a red circle <lora:late:0>")["images"] != plain, "the infotext tells of the tag"
    assert paint(painter, "a red circle")["images"] == plain


def test_a_broken_file_fails_its_task_only(painter: Any, data_dir: Path) -> None:
    path = data_dir / "models" / "Lora" / "broken.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff" * 100)
    entry = painter.result(painter.put({**SMALL, "prompt": "<lora:broken:1>"}, path=PATH))
    assert entry.tags["lastCode"] == "422"
    assert "broken.safetensors cannot be read" in json.loads(entry.data)["parameters"]["error_msg"]
    assert paint(painter, "a red circle")["images"]


def test_an_error_does_not_tell_where_the_server_keeps_its_data(painter: Any, data_dir: Path) -> None:
    (data_dir / "models" / "Stable-diffusion" / "torn.safetensors").write_bytes(b"\xff" * 100)
    body = {**SMALL, "override_settings": {"sd_model_checkpoint": "torn"}}
    entry = painter.result(painter.put(body, path=PATH))
    said = json.loads(entry.data)["parameters"]["error_msg"]
    assert "models/Stable-diffusion/torn.safetensors" in said
    assert str(data_dir) not in said
