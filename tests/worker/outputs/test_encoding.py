"""Every format keeps the picture and its infotext; the gateway reads what the worker wrote."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from easel_contract.errors import ContractError
from easel_gateway.sdapi.png_info import read_picture
from easel_worker.outputs.encoding import CONTENT_TYPES, MAX_SIDES, Encoded, encode, small_copy
from easel_worker.outputs.exif import MAX_JPEG_BYTES
from easel_worker.outputs.options import FORMATS, OutputOptions

from .jobs import picture

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
    file = encode(smooth(), text, form, OutputOptions())

    assert read_back(file) == text
    assert file.infotext == text
    assert file.suffix == form.lower()
    assert file.content_type == Image.MIME[Image.open(io.BytesIO(file.data)).format]


@pytest.mark.parametrize("form", FORMATS)
def test_the_picture_is_kept(form: str) -> None:
    image = smooth()
    read = Image.open(io.BytesIO(encode(image, "x", form, OutputOptions()).data)).convert("RGB")
    difference = np.abs(np.asarray(read).astype(int) - image)
    assert difference.mean() < {"png": 0.001, "gif": 25}.get(form, 6)


@pytest.mark.parametrize("form", FORMATS)
def test_masks_and_alpha_are_written_too(form: str) -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    alpha = np.zeros((8, 8, 4), dtype=np.uint8)
    for image in (mask, alpha):
        assert Image.open(io.BytesIO(encode(image, "x", form, OutputOptions()).data)).size == (8, 8)


def test_png_keeps_further_chunks() -> None:
    file = encode(picture(), "x", "png", OutputOptions(), {"postprocessing": "Upscaler: Lanczos"})
    items = read_picture(base64.b64encode(file.data).decode()).items
    assert items == {"parameters": "x", "postprocessing": "Upscaler: Lanczos"}


@pytest.mark.parametrize("form", FORMATS)
def test_without_enable_pnginfo_a_file_tells_nothing(form: str) -> None:
    options = OutputOptions(enable_pnginfo=False)
    assert read_back(encode(picture(), TEXTS[0], form, options, {"more": "x"})) == ""


def test_lossless_webp_and_the_quality_change_the_file() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    exact = encode(noise, "", "webp", OutputOptions(webp_lossless=True))
    assert (np.asarray(Image.open(io.BytesIO(exact.data))) == noise).all()
    for form in ("jpg", "webp", "avif"):
        low, high = (len(encode(noise, "", form, OutputOptions(jpeg_quality=q)).data) for q in (10, 95))
        assert low < high


def test_a_jpeg_has_room_for_64_kib_of_text_in_the_shorter_encoding() -> None:
    fits = "x" * (MAX_JPEG_BYTES - 100)
    assert read_back(encode(picture(), fits, "jpg", OutputOptions())) == fits
    assert read_back(encode(picture(), fits * 2, "jpg", OutputOptions())) == ""
    assert read_back(encode(picture(), fits * 2, "webp", OutputOptions())) == fits * 2


def test_what_a_format_cannot_hold_is_a_png() -> None:
    wide = picture(width=MAX_SIDES["webp"] + 1, height=1)
    assert encode(wide, "x", "webp", OutputOptions()).suffix == "png"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, None),
        ({"target_side_length": 16}, (16, 8)),
        ({"target_side_length": 5}, (5, 2)),
        ({"img_downscale_threshold": 0.0001}, (32, 16)),
        ({"target_side_length": 16, "export_for_4chan": False}, None),
    ],
)
def test_a_large_picture_gets_a_small_copy(options: dict[str, object], size: tuple[int, int] | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    made = OutputOptions.from_options(options)
    copy = small_copy(noise, encode(noise, TEXTS[0], "png", made), made)
    if size is None:
        assert copy is None
    else:
        assert copy is not None
        assert Image.open(io.BytesIO(copy.data)).size == size
        assert (copy.suffix, read_back(copy)) == ("jpg", TEXTS[0])


def test_a_jpeg_is_its_own_small_copy() -> None:
    options = OutputOptions(target_side_length=4)
    assert small_copy(picture(), encode(picture(), "x", "jpg", options), options) is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("samples_format", "bmp", "Invalid image format 'bmp'; use one of png, jpg"),
        ("samples_format", 5, "is text"),
        ("grid_format", "exe", "Invalid image format"),
        ("jpeg_quality", 0, "1 to 100"),
        ("jpeg_quality", "80", "whole number"),
        ("jpeg_quality", True, "whole number"),
        ("img_downscale_threshold", float("nan"), "0 to"),
        ("n_rows", -2, "-1 to"),
        ("save_txt", "yes", "true or false"),
        ("samples_filename_pattern", "x" * 1001, "1000 characters"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(name: str, value: object, message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        OutputOptions.from_options({name: value})
    assert (caught.value.field, caught.value.status) == (f"override_settings.{name}", 422)


def test_other_options_and_null_are_left_alone() -> None:
    assert OutputOptions.from_options({"samples_format": None, "sigma_min": "x"}) == OutputOptions()
    read = OutputOptions.from_options(
        {"samples_format": "WEBP", "jpeg_quality": 90.0, "img_downscale_threshold": 2}
    )
    assert (read.samples_format, read.jpeg_quality, read.img_downscale_threshold) == ("WEBP", 90, 2.0)


def test_every_format_has_a_content_type() -> None:
    assert set(CONTENT_TYPES) == set(FORMATS)
