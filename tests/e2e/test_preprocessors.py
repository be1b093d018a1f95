"""Detect and the drawing of poses through `easel up`: what the ControlNet extension's own tests ask."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image, ImageDraw

from .running import Running, body_of

DETECT, RENDER = "/controlnet/detect", "/controlnet/render_openpose_json"
EMBEDS = ("clip_vision", "revision_clipvision", "revision_ignore_prompt", "ip-adapter-auto")
INPAINT = ("inpaint", "inpaint_only")


def text_of(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def disc(mode: str = "RGB", size: int = 96) -> Image.Image:
    picture = Image.new(mode, (size, size))
    ImageDraw.Draw(picture).ellipse((20, 20, size - 20, size - 20), fill="white")
    return picture


PICTURE, MASK = text_of(disc()), text_of(disc("L"))


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_every_listed_preprocessor_answers_one_map_for_each_picture(easel: Running) -> None:
    modules = easel.http.get("/controlnet/module_list").json()["module_list"]
    assert len(modules) >= 19
    for module in modules:
        body = {
            "controlnet_module": module,
            "controlnet_input_images": [PICTURE, PICTURE],
            "controlnet_masks": [MASK, MASK] if module in INPAINT else [],
            "controlnet_processor_res": 64,
        }
        response = easel.http.post(DETECT, json=body)
        if module in EMBEDS:
            assert (response.status_code, response.json()["detail"]) == (422, "Module not supported")
            continue
        assert response.status_code == 200, f"{module}: {response.text}"
        answer = response.json()
        assert answer["info"] == "Success"
        one, other = answer["images"]
        assert one == other
        assert opened(one).width in (64, 96)


def test_canny_draws_the_outline(easel: Running) -> None:
    body = {
        "controlnet_module": "canny",
        "controlnet_input_images": [PICTURE],
        "controlnet_processor_res": 96,
    }
    edges = opened(easel.http.post(DETECT, json=body).json()["images"][0]).convert("L")
    box = edges.getbbox()
    assert box is not None
    assert all(abs(side - edge) <= 2 for side, edge in zip(box, (20, 20, 77, 77), strict=True))
    assert edges.getpixel((48, 48)) == 0


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"controlnet_module": "INVALID", "controlnet_input_images": [PICTURE]}, "Module not available"),
        ({"controlnet_module": "canny", "controlnet_input_images": []}, "No image selected"),
        (
            {"controlnet_module": "inpaint_only", "controlnet_input_images": [PICTURE]},
            "Preprocessor inpaint_only requires `controlnet_masks` param.",
        ),
    ],
)
def test_what_is_refused(easel: Running, body: dict[str, object], detail: str) -> None:
    response = easel.http.post(DETECT, json=body)
    assert (response.status_code, response.json()["detail"]) == (422, detail)


def test_a_missing_file_is_named_to_the_client(easel: Running) -> None:
    body = {"controlnet_module": "softedge_hed", "controlnet_input_images": [PICTURE]}
    response = easel.http.post(DETECT, json=body)
    assert response.status_code == 422
    assert "models/annotators/ControlNetHED.pth" in response.text


def test_detect_can_be_queued(easel: Running) -> None:
    body = {"controlnet_module": "invert", "controlnet_input_images": [PICTURE]}
    assert easel.http.post(DETECT, params={"task_id": "maps"}, json=body).status_code == 200
    (item,) = easel.sink(1)
    answer = body_of(item)
    assert answer["info"] == "Success"
    assert opened(answer["images"][0]).getpixel((0, 0)) == (255, 255, 255)


def test_poses_are_drawn(easel: Running) -> None:
    points = [48.0, 30.0, 1.0, 48.0, 60.0, 1.0] + [0.0] * 48
    pose = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 96, "canvas_height": 96}
    animal = {"animals": [[10.0, 10.0, 1.0] * 17], "canvas_width": 64, "canvas_height": 32}
    answer = easel.http.post(RENDER, json=[pose, animal]).json()
    assert answer["info"] == "Success"
    drawn = [opened(text) for text in answer["images"]]
    assert [picture.size for picture in drawn] == [(96, 96), (64, 32)]
    assert drawn[0].getpixel((48, 60)) == (255, 85, 0)
    assert easel.http.post(RENDER, json=[]).json() == {"info": "No pose data detected."}
    wrong = easel.http.post(RENDER, json=[{"foo": "bar"}])
    assert wrong.status_code == 422
    assert not wrong.json().keys() & {"info", "images"}
