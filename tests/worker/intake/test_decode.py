"""Every kind of picture becomes RGB or RGBA, upright; what is none is refused by name."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel_contract.errors import ContractError
from easel_contract.images import ImageRules
from easel_worker.intake import Intake

from .pictures import file_of, gradient, png_claiming, text_of, webp_claiming

INTAKE = Intake(ImageRules(max_bytes=4_000_000, max_pixels=1_000_000))


def opened(data: bytes) -> Image.Image:
    return INTAKE.open(text_of(data), field="init_images.0")


def refused(data: bytes | str) -> ContractError:
    text = data if isinstance(data, str) else text_of(data)
    with pytest.raises(ContractError) as caught:
        INTAKE.open(text, field="init_images.0")
    assert caught.value.field == "init_images.0"
    assert caught.value.status == 422
    return caught.value


def difference(picture: Image.Image, wanted: Image.Image) -> int:
    assert picture.size == wanted.size
    return int(np.abs(np.asarray(picture.convert("RGB"), int) - np.asarray(wanted, int)).max())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 16),
        ("AVIF", {"quality": 95}, 24),
        ("GIF", {}, 40),
    ],
)
def test_formats(kind: str, options: dict[str, object], tolerance: int) -> None:
    picture = opened(file_of(gradient(), kind, **options))
    assert picture.mode == "RGB"
    assert difference(picture, gradient()) <= tolerance


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "JPEG2000"])
def test_other_formats_are_refused_and_the_known_ones_named(kind: str) -> None:
    error = refused(file_of(gradient(), kind))
    assert error.message == "Invalid encoded image: not one of PNG, JPEG, WebP, AVIF, GIF, BMP"


def test_16_bit_grey_is_scaled_and_not_cut() -> None:
    values = np.linspace(0, 65_535, 64 * 64).reshape(64, 64).astype(np.uint16)
    picture = opened(file_of(Image.fromarray(values)))
    assert picture.mode == "RGB"
    grey = np.asarray(picture)[..., 0]
    assert np.abs(grey.astype(int) - values / 257).max() <= 0.5


def test_16_bit_colour() -> None:
    wanted = gradient()
    rows = (np.asarray(wanted).astype(">u2") * 257).tobytes()
    width, height = wanted.size
    stride = width * 6
    lines = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert difference(opened(b"\x89PNG\r\n\x1a\n" + parts), wanted) == 0


def test_cmyk_keeps_its_colours() -> None:
    picture = opened(file_of(Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK"), "JPEG", quality=95))
    assert picture.mode == "RGB"
    assert difference(picture, Image.new("RGB", (32, 32), (200, 40, 90))) <= 8


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True, duration=50)
        assert difference(opened(data), frames[0]) <= 2, kind


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_kept(mode: str) -> None:
    source = gradient().convert("RGBA")
    source.putalpha(Image.linear_gradient("L").resize(source.size))
    if mode == "PA":  # a palette with one transparent entry
        palette = Image.new("P", (4, 4), 1)
        palette.putpalette([255, 0, 0, 0, 0, 255])
        palette.putpixel((0, 0), 0)
        data = file_of(palette, transparency=0)
        alphas = {0: 1, 255: 15}
    else:
        data = file_of(source.convert(mode))
        alphas = dict(zip(*np.unique(np.asarray(source)[..., 3], return_counts=True), strict=True))
    picture = opened(data)
    assert picture.mode == "RGBA"
    found = dict(zip(*np.unique(np.asarray(picture)[..., 3], return_counts=True), strict=True))
    assert found == alphas


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_without_transparency_become_rgb(mode: str) -> None:
    assert opened(file_of(gradient().convert(mode))).mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = opened(file_of(gradient(), "JPEG", quality=95, subsampling=0, exif=exif))
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    wanted = gradient().transpose(turns[orientation]) if orientation > 1 else gradient()
    assert difference(turned, wanted) <= 16


def test_texts_stay_and_other_metadata_goes() -> None:
    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Seed: 1")
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    picture = opened(file_of(gradient(), pnginfo=info, exif=exif, icc_profile=b"x" * 200, dpi=(72, 72)))
    assert picture.info == {"parameters": "a cat\nSteps: 20, Seed: 1"}


@pytest.mark.parametrize("name", ["transparency", "icc_profile", "background", "duration", "gamma"])
def test_a_text_does_not_pass_for_what_pillow_acts_on(name: str) -> None:
    texts = PngInfo()
    texts.add_text(name, "x")
    picture = opened(file_of(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), pnginfo=texts))
    assert picture.info == {}
    for kind in ("PNG", "WEBP", "JPEG"):
        picture.convert("RGB").save(io.BytesIO(), kind)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP"])
def test_files_that_are_cut_short(kind: str) -> None:
    data = file_of(gradient(), kind)
    for size in (20, len(data) // 3, len(data) // 2):
        assert refused(data[:size]).message.startswith("Invalid encoded image: the ")


def test_bytes_that_are_wrong_never_raise_anything_else() -> None:
    chance = random.Random(11)
    for kind in ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP"):
        original = file_of(gradient(16, 16), kind)
        for _ in range(60):
            data = bytearray(original)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(8, len(data))] = chance.randrange(256)
            with contextlib.suppress(ContractError):  # and nothing else
                assert opened(bytes(data)).mode in ("RGB", "RGBA")


@pytest.mark.parametrize(
    "data", [png_claiming(60_000, 60_000), png_claiming(2000, 501), webp_claiming(16_384, 16_384)]
)
def test_a_bomb_is_refused_before_it_is_decoded(data: bytes) -> None:
    assert "EASEL_IMAGE_MAX_PIXELS" in refused(data).message


def test_a_text_bomb_in_a_png() -> None:
    info = PngInfo()
    info.add_text("parameters", "x" * 30_000_000, zip=True)
    data = file_of(gradient(), pnginfo=info)
    assert len(data) < 100_000
    assert "broken" in refused(data).message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("no base64 at all!", "neither base64 nor an http(s) URL"),
        ("äöü", "neither base64 nor an http(s) URL"),
        ("/etc/passwd", "not one of"),
        ("file:///etc/passwd", "neither base64 nor an http(s) URL"),
        ("data:image/png,abc", "a data URI is"),
        ("data:image/png;base64", "a data URI is"),
        ("data:image/png;base64,", "it is empty"),
        ("AAAAA", "neither base64"),
    ],
)
def test_texts_that_are_no_picture(text: str, told: str) -> None:
    assert told in refused(text).message


def test_spellings_of_base64() -> None:
    data = file_of(gradient(), "JPEG")
    plain = text_of(data)
    wrapped = "\r\n".join(plain[start : start + 76] for start in range(0, len(plain), 76))
    for text in (
        plain,
        wrapped,
        plain.rstrip("="),
        plain.replace("+", "-").replace("/", "_"),
        f"data:image/jpeg;base64,{plain}",
        f"DATA:;charset=utf-8;BASE64,{plain}",
    ):
        assert INTAKE.open(text, field="image").size == gradient().size


def test_a_file_that_is_too_large() -> None:
    noise = random.Random(1).randbytes(1000 * 1000 * 3)
    data = file_of(Image.frombytes("RGB", (1000, 1000), noise))
    rules = ImageRules(max_bytes=len(data) - 1)
    with pytest.raises(ContractError, match="EASEL_IMAGE_MAX_BYTES"):
        Intake(rules).open(text_of(data), field="image")
    assert Intake(ImageRules(max_bytes=len(data))).open(text_of(data), field="image").size == (1000, 1000)


def test_the_picture_needs_no_open_file() -> None:
    picture = opened(file_of(gradient()))
    again = io.BytesIO()
    picture.save(again, "PNG")
    assert difference(Image.open(again), gradient()) == 0
