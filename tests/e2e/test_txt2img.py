"""A prompt goes in over HTTP, a picture comes back: what each kind of client sees."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import numpy as np
import pytest

from ..looking import look
from .running import Running, body_of, picture

SMALL = {"prompt": "a red circle", "steps": 4, "width": 64, "height": 96}
SEEN = {"steps": 20, "width": 128, "height": 128, "sampler_name": "DPM++ 2M", "seed": 1}
"""Enough for the shipped model to draw what is asked for."""


def pixels(image: str) -> Any:
    return np.asarray(picture(image)).astype(int)


def render(easel: Running, **body: Any) -> dict[str, Any]:
    response = easel.http.post("/sdapi/v1/txt2img", json={**SMALL, **body})
    assert response.status_code == 200, response.text
    loaded: dict[str, Any] = response.json()
    return loaded


def test_a_synchronous_call_answers_a_picture_that_knows_its_prompt(easel: Running) -> None:
    answer = render(easel, prompt="a red circle, (bold:1.2)", negative_prompt="blue", seed=5)
    (image,) = answer["images"]
    assert picture(image).size == (64, 96)
    info = easel.http.post("/sdapi/v1/png-info", json={"image": "data:image/png;base64," + image}).json()
    assert info["info"].startswith("a red circle, (bold:1.2)\nNegative prompt: blue\nSteps: 4, ")
    assert info["parameters"]["Seed"] == "5"
    assert (info["parameters"]["Size-1"], info["parameters"]["Size-2"]) == ("64", "96")
    details = json.loads(answer["info"])
    assert details["infotexts"] == [info["info"]]
    assert details["all_seeds"] == [5]
    assert answer["parameters"]["prompt"] == "a red circle, (bold:1.2)"
    assert answer["parameters"]["cfg_scale"] == 7.0, "defaults are filled in"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a red circle on a blue background", "red circle on blue"),
        ("A YELLOW STAR, ON BLACK", "yellow star on black"),
        ("green heart, white background", "green heart on white"),
    ],
)
def test_the_picture_shows_what_the_prompt_says(easel: Running, prompt: str, words: str) -> None:
    (image,) = render(easel, **SEEN, prompt=prompt)["images"]
    assert look(image).words == words


def test_the_shipped_model_is_listed_and_is_the_default(easel: Running) -> None:
    (model,) = easel.http.get("/sdapi/v1/sd-models").json()
    assert model["model_name"] == "easel-shapes"
    answer = render(easel, override_settings={"sd_model_checkpoint": model["title"]})
    info = json.loads(answer["info"])
    assert (info["sd_model_name"], info["sd_model_hash"]) == (model["model_name"], model["hash"])
    default = json.loads(render(easel)["info"])
    assert default["sd_model_name"] == model["model_name"]


def test_the_same_seed_gives_the_same_picture(easel: Running) -> None:
    first, again, other = (render(easel, seed=seed)["images"][0] for seed in (11, 11, 12))
    assert (pixels(first) == pixels(again)).all()
    assert (pixels(first) != pixels(other)).any()


@pytest.mark.parametrize(("batch_size", "n_iter"), [(3, 1), (1, 3), (2, 2)])
def test_image_i_equals_a_single_run_with_seed_plus_i(easel: Running, batch_size: int, n_iter: int) -> None:
    answer = render(easel, seed=40, batch_size=batch_size, n_iter=n_iter)
    assert len(answer["images"]) == batch_size * n_iter
    assert json.loads(answer["info"])["all_seeds"] == [40 + i for i in range(batch_size * n_iter)]
    for i, image in enumerate(answer["images"]):
        single = pixels(render(easel, seed=40 + i)["images"][0])
        # Another batch size may add up in another order: one level of 255 is the most that can show.
        assert abs(pixels(image) - single).max() <= 1


@pytest.mark.parametrize(
    "sampler", ["Euler", "Euler a", "DDIM", "DPM++ 2M", "DPM++ 2M Karras", "UniPC", "LMS", "Heun"]
)
def test_every_sampler_draws_the_prompt_and_says_its_name(easel: Running, sampler: str) -> None:
    asked = "a green square on a white background"
    answer = render(easel, **{**SEEN, "sampler_name": sampler}, prompt=asked)
    assert look(answer["images"][0]).words == "green square on white"
    assert f"Sampler: {sampler.removesuffix(' Karras')}," in json.loads(answer["info"])["infotexts"][0]


def test_a_queued_request_with_save_dir_answers_paths_in_the_sink(easel: Running) -> None:
    mount = "/code/stable-diffusion-webui/data-oss"
    request_id = easel.submit(
        "t1",
        **SMALL,
        seed=100,
        n_iter=2,
        alwayson_scripts={"save_dir": f"{mount}/outputs", "id_task": "14837"},
    )
    (item,) = easel.sink(1)
    assert item["tags"] == {"task_id": "t1", "requestId": request_id}
    body = body_of(item)
    assert set(body) == {"images", "parameters", "info"}
    assert body["images"] == []
    parameters = body["parameters"]
    assert list(parameters) == [
        "id_task", "status", "image_url", "seed", "error_msg", "total_time", "image_mask_url",
    ]  # fmt: skip
    assert (parameters["id_task"], parameters["status"], parameters["error_msg"]) == ("14837", 0, "")
    assert (parameters["seed"], parameters["image_mask_url"]) == ("100,101", "")
    assert parameters["total_time"] > 0
    assert json.loads(body["info"])["hostname"]
    grid, *images = parameters["image_url"].split(",")
    assert grid.startswith(f"{mount}/outputs/txt2img-grids/")
    assert [path.rsplit("-", 1)[1] for path in images] == ["100.png", "101.png"]
    for path in (grid, *images):
        assert path.startswith(f"{mount}/outputs/")
        assert (easel.data_dir / path.removeprefix(f"{mount}/")).is_file()


def test_prefer_respond_async_queues_too(easel: Running) -> None:
    response = easel.http.post("/sdapi/v1/txt2img", json=SMALL, headers={"Prefer": "respond-async"})
    assert response.text.isdigit()
    (item,) = easel.sink(1)
    assert item["index"] >= 1
    assert picture(body_of(item)["images"][0]).size == (64, 96)


def test_the_synchronous_eas_address(easel: Running) -> None:
    response = easel.http.post(f"/api/predict/{easel.service}.sync/sdapi/v1/txt2img?tag=x", json=SMALL)
    assert response.status_code == 200
    assert picture(response.json()["images"][0]).size == (64, 96)


def test_a_checkpoint_is_chosen_by_name(easel: Running) -> None:
    checkpoint = json.loads(render(easel)["info"])["sd_model_name"]
    answer = render(easel, alwayson_scripts={"sd_model_checkpoint": checkpoint.upper()})
    assert json.loads(answer["info"])["sd_model_name"] == checkpoint
    refused = easel.http.post(
        "/sdapi/v1/txt2img", json={**SMALL, "override_settings": {"sd_model_checkpoint": "no-such-model"}}
    )
    assert refused.status_code == 422
    assert "no-such-model" in refused.text
    assert checkpoint in refused.text, "the known ones are named"


def test_cancel_stops_the_named_task_only(easel: Running) -> None:
    running = easel.submit("running", **{**SMALL, "steps": 150, "width": 256, "height": 256})
    waiting = easel.submit("waiting", **SMALL)
    easel.wait_until_rendering(running)
    outcome = easel.http.post(f"/easel/v1/tasks/{running}/cancel").json()
    assert outcome["outcome"] == "stopping"
    items = {item["tags"]["task_id"]: item for item in easel.sink(2)}
    assert items["running"]["tags"]["lastCode"] == "499"
    assert body_of(items["running"])["parameters"]["status"] == 499
    assert "lastCode" not in items["waiting"]["tags"]
    assert easel.http.get(f"/easel/v1/tasks/{waiting}").json()["status"] == "done"


def test_a_caller_that_hangs_up_cancels_its_task(easel: Running) -> None:
    request_id = f"hang-up-{uuid.uuid4()}"
    heavy = {**SMALL, "steps": 150, "width": 256, "height": 256, "n_iter": 4}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{easel.url}/sdapi/v1/txt2img",
            json=heavy,
            headers={"X-Request-Id": request_id},
            timeout=httpx.Timeout(60, read=1.0),
        )
    # The events end with the task; the last one says how.
    last = [event["status"] for event in easel.events(request_id) if "status" in event][-1]
    assert last == "cancelled"
