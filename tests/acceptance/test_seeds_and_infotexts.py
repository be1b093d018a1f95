"""Seeds, step counts and infotexts, as a client sees them over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..e2e.running import Running
from .a1111 import BASE, IMG2IMG, TXT2IMG, data_uri, half_mask, img2img_base, pixels, rendered
from .service import until

FULL_INFO = {
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed",
    "all_subseeds", "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size",
    "restore_faces", "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash",
    "seed_resize_from_w", "seed_resize_from_h", "denoising_strength", "extra_generation_params",
    "index_of_first_image", "infotexts", "styles", "job_timestamp", "clip_skip",
    "is_using_inpainting_conditioning", "version",
}  # fmt: skip


def png_info(easel: Running, image: str) -> dict[str, Any]:
    response = easel.http.post("/sdapi/v1/png-info", json={"image": image})
    assert response.status_code == 200
    return dict(response.json())


@pytest.mark.parametrize("path", [TXT2IMG, IMG2IMG])
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE"])
def test_image_i_of_a_batch_is_that_of_a_single_run_with_seed_plus_i(
    a1111: Running, path: str, sampler: str
) -> None:
    base = BASE if path == TXT2IMG else img2img_base()
    body = {**base, "sampler_name": sampler, "eta": None, "seed": 40}
    answer, info = rendered(a1111.http, path, {**body, "batch_size": 2, "n_iter": 2})
    assert info["all_seeds"] == [40, 41, 42, 43]
    assert answer["parameters"]["seed"] == 40
    single, _ = rendered(a1111.http, path, {**body, "seed": 43})
    # Another batch size may add up in another order: one level of 255 is the most that can show.
    assert abs(pixels(answer["images"][3]) - pixels(single["images"][0])).max() <= 1
    assert abs(pixels(answer["images"][3]) - pixels(answer["images"][2])).max() > 1


def test_a_variation_keeps_the_seed_and_counts_the_subseed(a1111: Running) -> None:
    body = {**BASE, "seed": 3, "subseed": 10, "subseed_strength": 0.3, "n_iter": 2}
    _, info = rendered(a1111.http, TXT2IMG, body)
    assert (info["all_seeds"], info["all_subseeds"]) == ([3, 3], [10, 11])
    assert "Variation seed: 11, Variation seed strength: 0.3" in info["infotexts"][1]


def test_a_random_seed_is_told_and_gives_the_same_picture_again(a1111: Running) -> None:
    answer, info = rendered(a1111.http, TXT2IMG, BASE)
    assert answer["parameters"]["seed"] == -1
    again, _ = rendered(a1111.http, TXT2IMG, {**BASE, "seed": info["seed"]})
    assert (
        answer["images"] == again["images"]
        or (pixels(answer["images"][0]) == pixels(again["images"][0])).all()
    )


@pytest.mark.parametrize(
    ("steps", "strength", "done"), [(20, 0.75, 16), (20, 0.5, 11), (20, 1.0, 20), (30, 0.4, 13), (20, 0, 1)]
)
def test_img2img_takes_a1111s_number_of_steps(a1111: Running, steps: int, strength: float, done: int) -> None:
    body = {**img2img_base(), "steps": steps, "denoising_strength": strength, "sampler_name": "Euler"}
    response = a1111.http.post(IMG2IMG, params={"tag": "x"}, json=body)
    request_id = response.headers["X-Eas-Queueservice-Request-Id"]
    seen = [event["sampling_steps"] for event in a1111.events(request_id) if event.get("sampling_steps")]
    assert set(seen) == {done}


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (TXT2IMG, {"prompt": "a cat, (big:1.2)\non two lines", "negative_prompt": "b: c, d: e"}),
        (TXT2IMG, {"sampler_name": "DPM++ 2M", "scheduler": "karras", "tiling": True, "n_iter": 2}),
        (TXT2IMG, {"enable_hr": True, "denoising_strength": 0.4, "hr_scale": 1.5, "hr_upscaler": "Lanczos"}),
        (IMG2IMG, {"mask": data_uri(half_mask()), "inpainting_fill": 1, "inpaint_full_res": True}),
        (IMG2IMG, {"override_settings": {"CLIP_stop_at_last_layers": 2, "samples_format": "webp"}}),
    ],
)
def test_a_picture_knows_its_infotext(a1111: Running, path: str, change: dict[str, Any]) -> None:
    body = {**(BASE if path == TXT2IMG else img2img_base()), **change, "seed": 9}
    answer, info = rendered(a1111.http, path, body)
    assert len(info["infotexts"]) == len(answer["images"])
    for image, infotext in zip(answer["images"], info["infotexts"], strict=True):
        assert png_info(a1111, image)["info"] == infotext
    parsed = png_info(a1111, answer["images"][0])["parameters"]
    assert parsed["Prompt"] == body["prompt"]
    assert parsed["Negative prompt"] == body["negative_prompt"]
    assert (parsed["Seed"], parsed["Steps"], parsed["CFG scale"]) == ("9", "3", "7")
    assert (parsed["Size-1"], parsed["Size-2"], parsed["Model"]) == ("64", "64", "easel-shapes")
    if body.get("enable_hr") or path == IMG2IMG:
        assert parsed["Denoising strength"] == str(body["denoising_strength"])


def test_an_infotext_renders_the_picture_that_it_came_from(a1111: Running) -> None:
    told = {
        "prompt": "a red circle",
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "seed": 5,
        "eta": None,
    }
    answer, info = rendered(a1111.http, TXT2IMG, {**BASE, **told, "cfg_scale": 4.5, "steps": 4})
    again, told_again = rendered(a1111.http, TXT2IMG, {"infotext": info["infotexts"][0]})
    assert told_again["infotexts"] == info["infotexts"]
    assert (pixels(answer["images"][0]) == pixels(again["images"][0])).all()


def test_info_has_every_key_of_a1111s(a1111: Running) -> None:
    for path, body in ((TXT2IMG, BASE), (IMG2IMG, img2img_base())):
        _, info = rendered(a1111.http, path, body)
        assert info.keys() == FULL_INFO
        assert len(info["sd_model_hash"]) == 10
        assert len(info["job_timestamp"]) == 14


def test_a_grid_comes_first_where_pictures_are_saved(a1111: Running) -> None:
    folders = {"outdir_txt2img_samples": "mine/pictures", "outdir_txt2img_grids": "mine/grids"}
    body = {**BASE, "n_iter": 2, "save_images": True, "seed": 6, "override_settings": folders}
    answer, info = rendered(a1111.http, TXT2IMG, body)
    assert [pixels(image).shape for image in answer["images"]] == [(64, 128, 3), (64, 64, 3), (64, 64, 3)]
    assert (info["index_of_first_image"], len(info["infotexts"])) == (1, 3)
    stored = sorted(path.name for path in (a1111.data_dir / "mine").rglob("*.png"))
    assert stored == ["00000-6.png", "00001-7.png", "grid-0000.png"]


def test_a_cancel_and_an_interrupt_reach_the_named_task_only(a1111: Running) -> None:
    long = {**BASE, "width": 256, "height": 256, "steps": 150}
    sent = {
        name: a1111.http.post(
            TXT2IMG,
            params={"task_id": name},
            json={**(BASE if name == "last" else long), "alwayson_scripts": {"id_task": name}},
        ).headers["X-Eas-Queueservice-Request-Id"]
        for name in ("cancelled", "interrupted", "last")
    }
    a1111.wait_until_rendering(sent["cancelled"])
    queued = a1111.http.post("/sdapi/v1/interrupt", json={"id_task": "last"})
    assert queued.json() == {"request_id": sent["last"], "outcome": "waiting"}
    a1111.http.post(f"/easel/v1/tasks/{sent['cancelled']}/cancel")
    a1111.wait_until_rendering(sent["interrupted"])
    a1111.http.post("/sdapi/v1/interrupt", json={"id_task": "interrupted"})
    items = {item["tags"]["task_id"]: item for item in a1111.sink(3)}
    assert items["cancelled"]["tags"]["lastCode"] == "499"
    assert "lastCode" not in items["interrupted"]["tags"], "an interrupted task answers 200"
    assert "lastCode" not in items["last"]["tags"]
    until(lambda: a1111.http.get(f"/easel/v1/tasks/{sent['last']}").json()["status"] == "done", "it is done")
    missing = a1111.http.post("/sdapi/v1/interrupt", json={"id_task": "no such task"})
    assert missing.status_code == 404
    assert json.loads(missing.text)["detail"]
