"""Every format keeps the picture and its infotext; the gateway reads what the worker wrote."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from easel_contract.options import OPTIONS, RenderOptions
from easel_gateway.sdapi.png_info import read_picture
from easel_worker.outputs.encoding import CONTENT_TYPES, MAX_SIDES, Encoded, encode, small_copy
from easel_worker.outputs.exif import MAX_JPEG_BYTES

from .jobs import picture

FORMATS = tuple(CONTENT_TYPES)

TEXTS = [
    "a cat\nNegative prompt: ugly\nSteps: 1, Seed: 2, Size: 8x8",
    "eine Kätzin\nSteps: 1, Seed: 2, Size: 8x8",
    "猫, 🐈\nSteps: 1, Seed: 2, Size: 8x8",
    "猫" * 300 + "\nSteps: 1, Seed: 2, Size: 8x8",
    "long, " * 3000 + "\nSteps: 1, Seed: 2, Size: 8x8",
]


def read_back(file: Encoded) -> str:
    return read_picture(base64.b64encode(file.data).decode()).info


def smooth() -> np.ndarray:
    """A picture that a lossy format hardly changes."""
    return np.linspace(0, 255, 32 * 16 * 3).astype(np.uint8).reshape(16, 32, 3)


@pytest.mark.parametrize("form", [*FORMATS, "PNG", "WebP"])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_png_info_reads_what_was_written(form: str, text: str) -> None:
    file = encode(smooth(), text, form, RenderOptions())

    assert read_back(file) == text
    assert file.infotext == text
    assert file.suffix == form.lower()
    assert file.content_type == Image.MIME[Image.open(io.BytesIO(file.data)).format]


@pytest.mark.parametrize("form", FORMATS)
def test_the_picture_is_kept(form: str) -> None:
    image = smooth()
    read = Image.open(io.BytesIO(encode(image, "x", form, RenderOptions()).data)).convert("RGB")
    difference = np.abs(np.asarray(read).astype(int) - image)
    assert difference.mean() < {"png": 0.001, "gif": 25}.get(form, 6)


@pytest.mark.parametrize("form", FORMATS)
def test_masks_and_alpha_are_written_too(form: str) -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    alpha = np.zeros((8, 8, 4), dtype=np.uint8)
    for image in (mask, alpha):
        assert Image.open(io.BytesIO(encode(image, "x", form, RenderOptions()).data)).size == (8, 8)


def test_png_keeps_further_chunks() -> None:
    file = encode(picture(), "x", "png", RenderOptions(), {"postprocessing": "Upscaler: Lanczos"})
    items = read_picture(base64.b64encode(file.data).decode()).items
    assert items == {"parameters": "x", "postprocessing": "Upscaler: Lanczos"}


@pytest.mark.parametrize("form", FORMATS)
def test_without_enable_pnginfo_a_file_tells_nothing(form: str) -> None:
    options = RenderOptions(enable_pnginfo=False)
    assert read_back(encode(picture(), TEXTS[0], form, options, {"more": "x"})) == ""


def test_lossless_webp_and_the_quality_change_the_file() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    exact = encode(noise, "", "webp", RenderOptions(webp_lossless=True))
    assert (np.asarray(Image.open(io.BytesIO(exact.data))) == noise).all()
    for form in ("jpg", "webp", "avif"):
        low, high = (len(encode(noise, "", form, RenderOptions(jpeg_quality=q)).data) for q in (10, 95))
        assert low < high


def test_a_jpeg_has_room_for_64_kib_of_text_in_the_shorter_encoding() -> None:
    fits = "x" * (MAX_JPEG_BYTES - 100)
    assert read_back(encode(picture(), fits, "jpg", RenderOptions())) == fits
    assert read_back(encode(picture(), fits * 2, "jpg", RenderOptions())) == ""
    assert read_back(encode(picture(), fits * 2, "webp", RenderOptions())) == fits * 2


def test_what_a_format_cannot_hold_is_a_png() -> None:
    wide = picture(width=MAX_SIDES["webp"] + 1, height=1)
    assert encode(wide, "x", "webp", RenderOptions()).suffix == "png"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, None),
        ({"target_side_length": 64}, (64, 32)),
        ({"target_side_length": 65}, (65, 32)),
        ({"img_downscale_threshold": 0.0001}, (128, 64)),
        ({"target_side_length": 64, "export_for_4chan": False}, None),
    ],
)
def test_a_large_picture_gets_a_small_copy(options: dict[str, object], size: tuple[int, int] | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    made = RenderOptions.model_validate(options)
    copy = small_copy(noise, encode(noise, TEXTS[0], "png", made), made)
    if size is None:
        assert copy is None
    else:
        assert copy is not None
        assert Image.open(io.BytesIO(copy.data)).size == size
        assert (copy.suffix, read_back(copy)) == ("jpg", TEXTS[0])


def test_a_jpeg_is_its_own_small_copy() -> None:
    options = RenderOptions(target_side_length=64)
    wide = picture(width=128)
    assert small_copy(wide, encode(wide, "x", "jpg", options), options) is None


def test_every_format_has_a_content_type() -> None:
    assert set(OPTIONS["samples_format"].values) == set(CONTENT_TYPES)
    assert set(OPTIONS["grid_format"].values) == set(CONTENT_TYPES)
