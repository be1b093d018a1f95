"""txt2img through a real worker process: bodies in, pictures and paths out, poison survived."""

from __future__ import annotations

import base64
import io
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from easel_queue import State

PATH = "/sdapi/v1/txt2img"
SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 7}
MOUNT = "/code/stable-diffusion-webui/data-oss"
INFO_KEYS = [
    "prompt",
    "all_prompts",
    "negative_prompt",
    "all_negative_prompts",
    "seed",
    "all_seeds",
    "subseed",
    "all_subseeds",
    "subseed_strength",
    "width",
    "height",
    "sampler_name",
    "cfg_scale",
    "steps",
    "batch_size",
    "restore_faces",
    "face_restoration_model",
    "sd_model_name",
    "sd_model_hash",
    "sd_vae_name",
    "sd_vae_hash",
    "seed_resize_from_w",
    "seed_resize_from_h",
    "denoising_strength",
    "extra_generation_params",
    "index_of_first_image",
    "infotexts",
    "styles",
    "job_timestamp",
    "clip_skip",
    "is_using_inpainting_conditioning",
    "version",
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("txt2img")


@pytest.fixture(scope="module")
def painter(
    redis_url: str, open_scene: Callable[..., Any], module_spawn: Callable[..., Any], data_dir: Path
) -> Iterator[Any]:
    """A scene with one worker that serves txt2img, for all tests of this file."""
    scene = open_scene(redis_url, f"painter-{uuid.uuid4().hex[:8]}")
    handlers = "easel_worker.handlers.generation:GenerationHandler"
    worker = module_spawn(scene, handlers=handlers, data_dir=data_dir, torch_threads=1, max_delivery=2)
    worker.wait_log("is ready")
    yield scene
    assert worker.process.poll() is None, f"the worker died: {worker.log}"


def paint(scene: Any, **fields: object) -> dict[str, Any]:
    entry = scene.result(scene.put({**SMALL, **fields}, path=PATH))
    assert "lastCode" not in entry.tags, entry.data
    answer: dict[str, Any] = json.loads(entry.data)
    return answer


def refusal(scene: Any, body: object, path: str = PATH) -> tuple[int, str]:
    """Code and message of a body's one failed result."""
    request_id = scene.put(body, path=path)
    entry = scene.result(request_id)
    answer = json.loads(entry.data)
    assert answer["images"] == []
    assert answer["parameters"]["status"] == int(entry.tags["lastCode"])
    assert scene.status(request_id).state is not State.DEAD, "a wrong request is told once, not retried"
    return int(entry.tags["lastCode"]), answer["parameters"]["error_msg"]


def test_the_a1111_answer_has_its_shape_and_the_picture_its_parameters(painter: Any) -> None:
    answer = paint(painter, negative_prompt="dog", sampler_name="DPM++ 2M Karras", cfg_scale=6.5)

    assert set(answer) == {"images", "parameters", "info"}
    info = json.loads(answer["info"])
    assert list(info) == INFO_KEYS
    assert info["all_seeds"] == [7]
    assert re.fullmatch(r"[0-9a-f]{10}", info["sd_model_hash"])
    assert re.fullmatch(r"\d{14}", info["job_timestamp"])
    assert answer["parameters"]["seed"] == 7
    assert answer["parameters"]["batch_size"] == 1
    picture = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert picture.size == (64, 64)
    assert picture.text["parameters"] == info["infotexts"][0]  # type: ignore[attr-defined] # PNG only
    last = info["infotexts"][0].splitlines()[-1]
    first = "Steps: 2, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 7, Size: 64x64, "
    assert last.startswith(first + "Model hash: ")
    assert "Model: easel-shapes, RNG: NV, Version: Easel" in last


def test_the_same_seed_is_the_same_picture_and_image_i_is_seed_plus_i(painter: Any) -> None:
    batch = paint(painter, batch_size=2, n_iter=2)
    again = paint(painter)
    third = paint(painter, seed=9)

    assert len(batch["images"]) == 4
    assert json.loads(batch["info"])["all_seeds"] == [7, 8, 9, 10]
    assert json.loads(batch["info"])["index_of_first_image"] == 0
    assert paint(painter)["images"] == again["images"]
    assert len(set(batch["images"])) == 4
    for one, many in ((again, batch["images"][0]), (third, batch["images"][2])):
        first = Image.open(io.BytesIO(base64.b64decode(one["images"][0]))).tobytes()
        other = Image.open(io.BytesIO(base64.b64decode(many))).tobytes()
        assert max(abs(a - b) for a, b in zip(first, other, strict=True)) <= 1


def test_a_random_seed_is_drawn_and_told(painter: Any) -> None:
    answer = paint(painter, seed=-1)

    assert answer["parameters"]["seed"] == -1
    assert 0 <= json.loads(answer["info"])["seed"] < 2**32


def test_save_images_writes_files_and_puts_the_grid_first(painter: Any, data_dir: Path) -> None:
    before = set((data_dir / "outputs").rglob("*.png"))
    answer = paint(painter, n_iter=3, save_images=True)

    info = json.loads(answer["info"])
    assert len(answer["images"]) == 4
    assert info["index_of_first_image"] == 1
    assert info["infotexts"][0] == info["infotexts"][1]
    grid = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert grid.size == (128, 128)
    assert grid.getpixel((127, 127)) == (255, 255, 255), (
        "three pictures in two rows of two leave one cell white"
    )
    written = {path.name for path in set((data_dir / "outputs").rglob("*.png")) - before}
    assert len(written) == 4
    assert len([name for name in written if name.startswith("grid-")]) == 1


def test_without_send_images_no_picture_is_sent(painter: Any) -> None:
    assert paint(painter, send_images=False)["images"] == []


def test_save_dir_answers_paths_under_the_mount_that_exist(painter: Any, data_dir: Path) -> None:
    answer = paint(
        painter,
        n_iter=2,
        alwayson_scripts={
            "save_dir": f"{MOUNT}/outputs/here",
            "id_task": "mine",
            "uid": "u",
            "presigned_url": True,
        },
    )

    assert answer["images"] == []
    assert set(json.loads(answer["info"])) == {"hostname"}
    parameters = answer["parameters"]
    assert list(parameters) == [
        "id_task",
        "status",
        "image_url",
        "seed",
        "error_msg",
        "total_time",
        "image_mask_url",
    ]
    assert (parameters["id_task"], parameters["status"], parameters["error_msg"]) == ("mine", 0, "")
    assert parameters["seed"] == "7,8"
    assert parameters["total_time"] > 0
    paths = parameters["image_url"].split(",")
    uuid4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    day = r"\d{4}-\d\d-\d\d"
    assert re.fullmatch(rf"{MOUNT}/outputs/here/txt2img-grids/{day}/grid-\d{{6}}-{uuid4}\.png", paths[0])
    for path, seed in zip(paths[1:], (7, 8), strict=True):
        assert re.fullmatch(rf"{MOUNT}/outputs/here/txt2img-images/{day}/\d{{6}}-{uuid4}-{seed}\.png", path)
    sizes = [Image.open(data_dir / path.removeprefix(f"{MOUNT}/")).size for path in paths]
    assert sizes == [(128, 64), (64, 64), (64, 64)]


def test_one_picture_has_no_grid_and_no_id_task_is_null(painter: Any) -> None:
    answer = paint(painter, alwayson_scripts={"save_dir": "tmp/outputs"})

    assert answer["parameters"]["id_task"] is None
    [path] = answer["parameters"]["image_url"].split(",")
    assert path.startswith("tmp/outputs/txt2img-images/")


def test_progress_counts_over_all_batches(painter: Any) -> None:
    request_id = painter.put({**SMALL, "steps": 5, "n_iter": 2}, path=PATH)
    painter.result(request_id)

    snapshots = [e["p"] for e in painter.events(request_id) if e["s"] == "progress"]
    assert snapshots[-1]["stage"] == "saving"
    assert (snapshots[-1]["step"], snapshots[-1]["steps"]) == (10, 10)
    assert [s["ratio"] for s in snapshots] == sorted(s["ratio"] for s in snapshots)


def test_cancel_stops_a_render_between_steps(painter: Any) -> None:
    request_id = painter.put({**SMALL, "steps": 150, "n_iter": 16, "width": 128, "height": 128}, path=PATH)
    painter.wait(request_id, "progress")

    painter.run(painter.queue.tasks.cancel(request_id=request_id, data=b""))

    assert painter.result(request_id).tags["lastCode"] == "499"
    assert paint(painter)["images"]


def test_a_hires_pass_counts_as_a_batch_and_its_picture_is_larger(painter: Any) -> None:
    request_id = painter.put({**SMALL, "steps": 3, "enable_hr": True, "hr_scale": 1.5}, path=PATH)
    answer = json.loads(painter.result(request_id).data)

    assert Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).size == (96, 96)
    assert "Hires upscale: 1.5, Hires upscaler: Latent" in json.loads(answer["info"])["infotexts"][0]
    snapshots = [e["p"] for e in painter.events(request_id) if e["s"] == "progress"]
    assert {s["batches"] for s in snapshots} == {2}
    assert [s["ratio"] for s in snapshots] == sorted(s["ratio"] for s in snapshots)


def test_an_interrupt_answers_what_there_is(painter: Any) -> None:
    request_id = painter.put({**SMALL, "steps": 150, "n_iter": 16, "width": 128, "height": 128}, path=PATH)
    painter.wait(request_id, "progress")

    painter.run(painter.queue.tasks.interrupt(request_id))

    result = painter.result(request_id)
    assert "lastCode" not in result.tags
    info = json.loads(json.loads(result.data)["info"])
    assert 1 <= len(json.loads(result.data)["images"]) == len(info["infotexts"]) < 16
    assert paint(painter)["images"]


def test_options_and_tiling_end_with_their_task(painter: Any) -> None:
    before = paint(painter)["images"]
    options = {"CLIP_stop_at_last_layers": 2, "randn_source": "CPU"}
    assert paint(painter, tiling=True, override_settings=options)["images"] != before
    assert paint(painter)["images"] == before


POISON: dict[str, tuple[bytes, str]] = {
    "not json": (b"\x89PNG\r\n\x1a\n\x00\xff", "JSON"),
    "cut off": (b'{"prompt": "a', "JSON"),
    "a list": (b"[1, 2]", "object"),
    "nan": (b'{"cfg_scale": NaN}', "NaN"),
    "infinity": (b'{"cfg_scale": 1e999}', "cfg_scale"),
    "huge width": (b'{"width": 100000}', "width"),
    "huge number": (b'{"width": ' + b"9" * 3000 + b"}", "width"),
    "no steps": (b'{"steps": 0}', "steps"),
    "batch": (b'{"batch_size": 1000000000}', "batch_size"),
    "seed": (b'{"seed": 1180591620717411303424}', "seed"),
    "prompt list": (b'{"prompt": ["a", "b"]}', "prompt"),
    "deep": (b'{"comments": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "sampler": (b'{"sampler_name": "Oiler"}', "sampler_name"),
    "script": (b'{"alwayson_scripts": {"nonsense": {"args": []}}}', "nonsense"),
    "checkpoint": (b'{"alwayson_scripts": {"sd_model_checkpoint": "deliberate_v2"}}', "easel-shapes"),
    "save_dir": (b'{"alwayson_scripts": {"save_dir": "../../etc"}}', "save_dir"),
    "foreign": (b'{"alwayson_scripts": {"save_dir": "/etc"}}', "save_dir"),
    "rng": (b'{"override_settings": {"randn_source": "dice"}}', "randn_source"),
    "huge hires": (b'{"enable_hr": true, "hr_resize_x": 8, "hr_resize_y": 9999}', "hr_resize_x"),
    "tiny hires": (b'{"enable_hr": true, "width": 8, "height": 8, "hr_scale": 0.01}', "hr_scale"),
    "first phase": (b'{"enable_hr": true, "firstphase_width": 9e6, "firstphase_height": 8}', "firstphase"),
    "hires upscaler": (b'{"enable_hr": true, "hr_upscaler": "../../etc/passwd"}', "hr_upscaler"),
    "hires sampler": (b'{"enable_hr": true, "hr_sampler_name": "Oiler"}', "hr_sampler_name"),
    "first picture": (b'{"enable_hr": true, "firstpass_image": "R0lGODlh"}', "firstpass_image"),
    "refiner": (b'{"refiner_checkpoint": "nobody", "refiner_switch_at": 0.5}', "refiner_checkpoint"),
    "network": (b'{"prompt": "<lora:nobody:1>"}', "nobody"),
    "style": (b'{"styles": ["nonesuch"]}', "nonesuch"),
    "faces": (b'{"restore_faces": true}', "restore_faces"),
    "eta": (b'{"eta": 7, "sampler_name": "Euler a", "steps": 1, "width": 64, "height": 64}', "eta"),
    "wrong id": (b'{"width": 9, "alwayson_scripts": {"save_dir": "..", "id_task": "\\ud800"}}', ""),
}


@pytest.mark.parametrize("name", POISON)
def test_a_poisoned_body_is_refused_once_with_a_clear_message(painter: Any, name: str) -> None:
    body, said = POISON[name]

    code, message = refusal(painter, body)

    assert code in (400, 422)
    assert said in message
    assert len(message) < 2100


def test_half_a_surrogate_pair_in_a_prompt_fails_its_task_only(painter: Any) -> None:
    request_id = painter.put(b'{"prompt": "\\ud800", "steps": 1, "width": 64, "height": 64}', path=PATH)

    assert int(painter.result(request_id).tags["lastCode"]) >= 400
    assert paint(painter)["images"]


def test_a_broken_checkpoint_is_told_and_the_worker_goes_on(painter: Any, data_dir: Path) -> None:
    broken = data_dir / "models" / "Stable-diffusion" / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text("{}")

    code, message = refusal(painter, {**SMALL, "override_settings": {"sd_model_checkpoint": "broken"}})

    assert code == 500
    assert "broken" in message
    assert paint(painter, override_settings={"sd_model_checkpoint": "EASEL-shapes.safetensors [0123456789]"})[
        "images"
    ]
