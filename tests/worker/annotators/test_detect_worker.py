"""Detect and the drawing of poses through a whole worker."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from prometheus_client import CollectorRegistry

from easel_contract.controlnet.detect import DETECT_PATH
from easel_contract.controlnet.poses import RENDER_POSE_PATH
from easel_queue import Task
from easel_worker.annotators.embeddings import from_text
from easel_worker.diffusion.attention.clip_vision import ClipView, load_clip_vision
from easel_worker.handlers.detect import DetectHandler
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

from ...small_models.ip_adapter import write_clip_folder
from . import random_files
from .pictures import disc, noise

HANDLERS = "easel_worker.handlers.detect:DetectHandler,easel_worker.handlers.poses:PoseHandler"


def text(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(base: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(base))))


@pytest.fixture
def call(scene: Any, local_worker: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Call a worker; answers status and body."""
    local_worker(
        scene, handlers=HANDLERS, data_dir=tmp_path, torch_threads=1, device="cpu", allow_pickle=True,
        image_max_pixels=250_000, lease_s=10.0,
    )  # fmt: skip

    def ask(body: object, path: str = DETECT_PATH) -> tuple[int, dict[str, Any]]:
        entry = scene.result(scene.put(body, path=path))
        return int(entry.tags.get("lastCode", 200)), json.loads(entry.data)

    return ask


def detect(call: Callable[..., Any], module: str, *pictures: str, **more: object) -> dict[str, Any]:
    code, body = call({"controlnet_module": module, "controlnet_input_images": pictures, **more})
    assert code == 200, body
    made: dict[str, Any] = body
    assert made["info"] == "Success"
    return made


def test_one_map_for_each_picture_in_their_order(call: Callable[..., Any]) -> None:
    pictures = [noise(70, 64), noise(64, 90, seed=1)]
    made = detect(call, "invert", *map(text, pictures), controlnet_processor_res=64)
    assert sorted(made) == ["images", "info"]
    for picture, answered in zip(pictures, made["images"], strict=True):
        np.testing.assert_array_equal(opened(answered), 255 - picture)


def test_names_labels_sizes_and_sliders(call: Callable[..., Any]) -> None:
    faint = text(disc(colour=(240, 240, 240)))
    wide = detect(call, "canny", faint, controlnet_processor_res=128)["images"][0]
    assert opened(wide).shape == (128, 128, 3)
    assert opened(wide).max() == 0
    sliders = {"controlnet_threshold_a": 5, "controlnet_threshold_b": 10}
    low = detect(call, "Canny", faint, controlnet_processor_res=128, **sliders)["images"][0]
    assert opened(low).max() == 255
    label = detect(call, "invert (from white bg & black line)", faint)["images"][0]
    assert opened(label).shape == (512, 512, 3)


def test_values_out_of_range_are_the_defaults(call: Callable[..., Any]) -> None:
    wrong = dict.fromkeys(
        ("controlnet_processor_res", "controlnet_threshold_a", "controlnet_threshold_b"), -100
    )
    picture = text(disc())
    assert detect(call, "canny", picture, **wrong) == detect(call, "canny", picture)


def test_inpaint_answers_what_is_masked_half_transparent(call: Callable[..., Any]) -> None:
    picture, mask = noise(40, 30), np.zeros((30, 40), np.uint8)
    mask[5:10, 5:20] = 255
    made = detect(call, "inpaint_only", text(picture), controlnet_masks=[text(mask)])
    shown = opened(made["images"][0])
    np.testing.assert_array_equal(shown[..., :3], picture)
    np.testing.assert_array_equal(shown[..., 3], np.where(mask, 128, 255))


def test_a_drawing_on_a_picture_is_the_map(call: Callable[..., Any]) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[30:33] = 255
    made = detect(call, "canny", text(noise(64, 64)), controlnet_masks=[text(mask)])
    np.testing.assert_array_equal(opened(made["images"][0]), np.dstack([mask] * 3))


def test_a_network_runs_on_the_torch_thread_and_is_found_without_restart(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    request = {"controlnet_module": "softedge_teed", "controlnet_input_images": [text(disc())]}
    code, body = call(request)
    assert code == 422
    assert "7_model.pth" in json.dumps(body)
    random_files.write(tmp_path / "models/annotators", "7_model.pth")
    made = detect(call, "softedge_teed", text(disc()), controlnet_processor_res=64)
    assert opened(made["images"][0]).shape == (64, 64, 3)
    (tmp_path / "models/annotators/7_model.pth").write_bytes(b"broken")
    code, body = call(request)
    assert code == 422
    assert "controlnet_module: models/annotators/7_model.pth cannot be read" in json.dumps(body)


@pytest.mark.parametrize(("module", "at_once"), [("canny", True), ("softedge_teed", False)])
def test_what_needs_no_network_is_made_before_the_torch_threads_turn(
    tmp_path: Path, module: str, at_once: bool
) -> None:
    random_files.write(tmp_path / "models/annotators", "7_model.pth")
    settings = WorkerSettings(data_dir=tmp_path, device="cpu", allow_pickle=True)
    handler = DetectHandler(settings, Stats(CollectorRegistry()))
    body = json.dumps({"controlnet_module": module, "controlnet_input_images": [text(disc())]}).encode()
    prepared = handler.prepare(Task(1, "r", 1, {}, {}, body, 0, 0, 0, 0))
    assert (prepared.made is not None) == at_once
    assert not handler._networks.cache.held()


def test_encoders_answer_embeddings(call: Callable[..., Any], tmp_path: Path) -> None:
    write_clip_folder(tmp_path / "models/annotators/clip_vision/clip_h")
    pictures = [noise(70, 64), noise(64, 90, seed=1)]
    mask = np.zeros((64, 70), np.uint8)
    mask[:, 35:] = 255
    made = detect(call, "ip-adapter_clip_h", *map(text, pictures))
    assert sorted(made) == ["info", "tensor"]
    views = [from_text(answered, field="x") for answered in made["tensor"]]
    encoder = load_clip_vision(
        tmp_path / "models/annotators/clip_vision/clip_h", device=torch.device("cpu"), dtype=torch.float32
    )
    for picture, view in zip(pictures, views, strict=True):
        assert isinstance(view, ClipView)
        assert torch.equal(view.hidden, encoder.look(picture).hidden)
    masked = detect(call, "ip-adapter_clip_h", text(pictures[0]), controlnet_masks=[text(mask)])
    seen = from_text(masked["tensor"][0], field="x")
    assert isinstance(seen, ClipView)
    assert torch.equal(seen.hidden, encoder.look(pictures[0], mask).hidden)
    assert not torch.equal(seen.hidden, views[0].hidden)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"controlnet_module": "INVALID", "controlnet_input_images": [text(disc())]}, "Module not available"),
        ({"controlnet_module": "clip_vision", "controlnet_input_images": ["x"]}, "Module not supported"),
        ({"controlnet_module": "ip-adapter-auto", "controlnet_input_images": ["x"]}, "Module not supported"),
        ({"controlnet_module": "canny"}, "No image selected"),
        (
            {"controlnet_module": "inpaint", "controlnet_input_images": [text(disc())]},
            "Preprocessor inpaint requires `controlnet_masks` param.",
        ),
        ({"controlnet_module": "canny", "controlnet_input_images": ["bm8gcGljdHVyZQ=="]}, "Invalid encoded"),
        (
            {
                "controlnet_module": "inpaint",
                "controlnet_input_images": [text(disc())],
                "controlnet_masks": [text(np.zeros((9, 9), np.uint8))],
            },
            "controlnet_masks.0: is 9x9 and its picture 128x128",
        ),
        (b"{", "JSON"),
    ],
)
def test_what_is_wrong_is_told(call: Callable[..., Any], body: object, said: str) -> None:
    code, answer = call(body)
    assert code == 422
    assert said in json.dumps(answer)


def person(size: int) -> dict[str, Any]:
    points = [size / 2, size / 4, 1.0, size / 2, size / 2, 1.0] + [0.0] * 48
    return {"people": [{"pose_keypoints_2d": points}], "canvas_width": size, "canvas_height": size}


def test_poses_are_drawn(call: Callable[..., Any]) -> None:
    code, body = call([person(64), person(96)], RENDER_POSE_PATH)
    assert (code, body["info"]) == (200, "Success")
    drawn = [opened(answered) for answered in body["images"]]
    assert [picture.shape for picture in drawn] == [(64, 64, 3), (96, 96, 3)]
    assert all(picture.max() == 255 for picture in drawn)
    code, body = call([], RENDER_POSE_PATH)
    assert (code, body) == (200, {"info": "No pose data detected."})
    code, body = call([{"foo": "bar"}], RENDER_POSE_PATH)
    assert code == 422
    assert "images" not in body or not body["images"]
