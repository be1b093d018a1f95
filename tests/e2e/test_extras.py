"""The extras calls through `easel up`: A1111's own three requests, and the queued form."""

from __future__ import annotations

import base64
import io

from PIL import Image

from .running import Running, body_of

SINGLE = "/sdapi/v1/extra-single-image"


def picture() -> str:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def size_of(text: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True))).size


def test_a1111s_own_requests(easel: Running) -> None:
    full = {
        "resize_mode": 0,
        "show_extras_results": True,
        "gfpgan_visibility": 0,
        "codeformer_visibility": 0,
        "codeformer_weight": 0,
        "upscaling_resize": 2,
        "upscaling_resize_w": 128,
        "upscaling_resize_h": 128,
        "upscaling_crop": True,
        "upscaler_1": "Lanczos",
        "upscaler_2": "None",
        "extras_upscaler_2_visibility": 0,
        "image": picture(),
    }
    for body, size in (
        (full, (128, 128)),
        ({"image": picture()}, (64, 64)),
        ({"image": picture(), "model": "clip"}, (64, 64)),
    ):
        response = easel.http.post(SINGLE, json=body)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert sorted(answer) == ["html_info", "image"]
        assert size_of(answer["image"]) == size
    batch = {"imageList": [{"data": picture(), "name": "a"}] * 2, "upscaler_1": "Nearest"}
    answer = easel.http.post("/sdapi/v1/extra-batch-images", json=batch).json()
    assert [size_of(text) for text in answer["images"]] == [(128, 128)] * 2


def test_bad_pictures_are_refused_at_the_door(easel: Running) -> None:
    for image, told in (
        ("no picture", "Invalid encoded image"),
        ("ftp://example.com/a.png", "Invalid encoded image"),
        ("http://example.com:22/", "Requests not allowed"),
    ):
        response = easel.http.post(SINGLE, json={"image": image})
        assert response.status_code == 422
        (problem,) = response.json()["detail"]
        assert problem["loc"] == ["body", "image"]
        assert told in problem["msg"]
    response = easel.http.post(SINGLE, json={"image": "http://127.0.0.1/a.png"})  # the worker looks it up
    assert response.status_code == 422
    assert "Request to local resource not allowed" in response.json()["detail"]
    assert easel.http.post(SINGLE, content=b"{", headers={"Content-Type": "text/plain"}).status_code == 422


def test_queued(easel: Running) -> None:
    response = easel.http.post(
        SINGLE, params={"task_id": "x1"}, json={"image": picture(), "upscaler_1": "Nearest"}
    )
    assert response.status_code == 200
    assert response.text.isdigit()
    (item,) = easel.sink(1)
    assert item["tags"]["task_id"] == "x1"
    assert size_of(body_of(item)["image"]) == (128, 128)
