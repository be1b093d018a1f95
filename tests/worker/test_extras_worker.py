"""The extras calls through a whole worker: sizes, blends, crops, what the picture tells, and refusals."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .intake.pictures import file_of, gradient, png_claiming, text_of
from .upscaling.networks import save_rrdb

SINGLE, BATCH = "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"
PICTURE = text_of(file_of(gradient(64, 48)))


@pytest.fixture
def extras(scene: Any, local_worker: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Call a worker; answers the result, with the status under ``code``."""
    local_worker(
        scene,
        handlers="easel_worker.handlers.extras:ExtrasHandler",
        data_dir=tmp_path,
        torch_threads=1,
        max_side=512,
        image_max_pixels=250_000,
        lease_s=10.0,
    )

    def call(path: str = SINGLE, **body: object) -> dict[str, Any]:
        entry = scene.result(scene.put(body, path=path))
        return {"code": int(entry.tags.get("lastCode", 200)), **json.loads(entry.data)}

    return call


def opened(text: str) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(text)))
    picture.load()
    return picture


def difference(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


def test_only_an_image_comes_back_as_it_is(extras: Callable[..., dict[str, Any]]) -> None:
    answer = extras(image=PICTURE, model="clip", upscaler_1=None)
    assert (answer["code"], answer["html_info"]) == (200, "<p></p>")
    assert difference(opened(answer["image"]), gradient(64, 48)) == 0


def test_sizes(extras: Callable[..., dict[str, Any]]) -> None:
    to_size: dict[str, object] = {"resize_mode": 1, "upscaling_resize_w": 100}
    wanted: list[tuple[dict[str, object], tuple[int, int]]] = [
        ({}, (128, 96)),
        ({"upscaling_resize": "1.7"}, (104, 80)),  # 108.8 and 81.6, down to multiples of 8
        ({"upscaling_resize": 0.5}, (32, 24)),
        (to_size | {"upscaling_resize_h": 100}, (100, 100)),
        (to_size | {"upscaling_resize_h": 50, "upscaling_crop": False}, (100, 75)),
    ]
    for fields, size in wanted:
        answer = extras(image=PICTURE, upscaler_1="Lanczos", **fields)
        assert answer["code"] == 200, answer
        assert opened(answer["image"]).size == size


def test_a_crop_takes_the_middle_and_has_no_border(extras: Callable[..., dict[str, Any]]) -> None:
    answer = extras(
        image=PICTURE, upscaler_1="Nearest", resize_mode=1, upscaling_resize_w=96, upscaling_resize_h=96
    )
    whole = gradient(64, 48).resize((128, 96), Image.Resampling.NEAREST)
    assert difference(opened(answer["image"]), whole.crop((16, 0, 112, 96))) == 0


def test_two_upscalers_are_blended(extras: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    save_rrdb(tmp_path / "models/ESRGAN/2x_net.safetensors", scale=2)
    ways = [extras(image=PICTURE, upscaler_1=name) for name in ("Nearest", "2x_net")]
    one, other = (opened(answer["image"]) for answer in ways)
    assert difference(one, other) > 20
    both = extras(image=PICTURE, upscaler_1="Nearest", upscaler_2="2x_net", extras_upscaler_2_visibility=0.25)
    assert difference(opened(both["image"]), Image.blend(one, other, 0.25)) == 0
    assert both["html_info"] == (
        "<p>Postprocess upscale by: 2, Postprocess upscaler: Nearest, Postprocess upscaler 2: 2x_net, "
        "Postprocess upscaler 2 visibility: 0.25</p>"
    )


def test_what_the_picture_told_is_kept_and_what_was_done_is_added(
    extras: Callable[..., dict[str, Any]],
) -> None:
    info = PngInfo()
    info.add_text("parameters", "a cät\nSteps: 20, Seed: 1, Size: 64x48")
    picture = text_of(file_of(gradient(64, 48), pnginfo=info))
    made = opened(extras(image=picture, upscaler_1="Lanczos")["image"])
    assert made.info == {
        "parameters": "a cät\nSteps: 20, Seed: 1, Size: 64x48",
        "postprocessing": "Postprocess upscale by: 2, Postprocess upscaler: Lanczos",
    }


def test_the_answer_has_the_services_format(extras: Callable[..., dict[str, Any]], scene: Any) -> None:
    options = scene.queue.options
    assert scene.run(options.replace(scene.run(options.read()), {"samples_format": "webp"}))
    see_through = text_of(file_of(gradient(64, 48).convert("RGBA")))
    for picture in (PICTURE, see_through):
        answer = extras(image=picture, upscaler_1="Lanczos")
        assert (opened(answer["image"]).format, opened(answer["image"]).size) == ("WEBP", (128, 96))


def test_a_batch_keeps_its_order(extras: Callable[..., dict[str, Any]]) -> None:
    pictures = [gradient(8 * number, 16) for number in (1, 2, 3)]
    listed = [{"data": text_of(file_of(picture)), "name": "x.png"} for picture in pictures]
    answer = extras(BATCH, imageList=listed, upscaler_1="Lanczos", upscaling_resize=3)
    assert [opened(text).size for text in answer["images"]] == [(24, 48), (48, 48), (72, 48)]
    bare = extras(BATCH, imageList=[text_of(file_of(pictures[0]))])
    assert opened(bare["images"][0]).size == (8, 16)


REFUSED: list[tuple[str, dict[str, object], str]] = [
    (SINGLE, {}, "image: Invalid encoded image: it is empty"),
    (SINGLE, {"image": "hello, world"}, "image: Invalid encoded image"),
    (SINGLE, {"image": text_of(file_of(gradient())[:80])}, "broken or cut short"),
    (SINGLE, {"image": text_of(png_claiming(50_000, 50_000))}, "EASEL_IMAGE_MAX_PIXELS"),
    (SINGLE, {"image": "http://169.254.169.254/latest"}, "Request to local resource not allowed"),
    (SINGLE, {"image": "http://127.0.0.1:6379/"}, "port 6379"),
    (SINGLE, {"image": PICTURE, "upscaler_1": "Foo"}, "upscaler_1: no upscaler 'Foo'"),
    (SINGLE, {"image": PICTURE, "upscaler_1": "SwinIR 4x"}, "SwinIR/SwinIR_4x.safetensors"),
    (SINGLE, {"image": PICTURE, "upscaler_1": "Lanczos", "upscaling_resize": 60}, "makes 3840x2880"),
    (SINGLE, {"image": PICTURE, "upscaler_1": "Lanczos", "upscaling_resize": 0.1}, "less than 8 pixels"),
    (SINGLE, {"image": PICTURE, "upscaling_resize": 0}, "upscaling_resize: "),
    (SINGLE, {"image": PICTURE, "upscaling_resize": float("nan")}, "NaN is not a JSON number"),
    (SINGLE, {"image": PICTURE, "codeformer_weight": "inf"}, "codeformer_weight: "),
    (SINGLE, {"image": PICTURE, "resize_mode": 2}, "resize_mode: "),
    (SINGLE, {"image": PICTURE, "resize_mode": 1, "upscaling_resize_w": 10**9}, "upscaling_resize_w: "),
    (SINGLE, {"image": PICTURE, "gfpgan_visibility": 1}, "GFPGAN/GFPGANv1.4.pth"),
    (SINGLE, {"image": PICTURE, "codeformer_visibility": 1}, "Codeformer/codeformer-v0.1.0.pth"),
    (BATCH, {"imageList": []}, "imageList: has 0 pictures"),
    (BATCH, {"imageList": [{"data": PICTURE}, {"data": "?"}]}, "imageList.1.data: "),
]


def test_refusals_name_the_field(extras: Callable[..., dict[str, Any]]) -> None:
    for path, body, told in REFUSED:
        answer = extras(path, **body)
        assert answer["code"] == 422, body
        assert told in answer["detail"]


def test_a_file_that_cannot_be_used_fails_alone_and_once(
    extras: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    save_rrdb(tmp_path / "models/ESRGAN/4x_old.pth")
    answer = extras(image=PICTURE, upscaler_1="4x_old")
    assert (answer["code"], answer["error"]) == (500, "WeightsError")
    assert "EASEL_ALLOW_PICKLE" in answer["detail"]
    assert extras(image=PICTURE, upscaler_1="Lanczos")["code"] == 200
