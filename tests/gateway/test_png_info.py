"""Reading generation parameters out of pictures."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
import zlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from easel_gateway.pictures import BrokenPictureError, TextTooLargeError, read_texts
from easel_gateway.pictures.exif import user_comment

from .conftest import RunningGateway

INFOTEXT = "a cat\nNegative prompt: ugly\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 1, Size: 64x32"


def encode(picture: Image.Image, **how: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, **how)
    return base64.b64encode(buffer.getvalue()).decode()


def png(text: dict[str, str]) -> str:
    chunks = PngImagePlugin.PngInfo()
    for name, value in text.items():
        chunks.add_text(name, value)
    return encode(Image.new("RGB", (4, 4)), format="PNG", pnginfo=chunks)


def with_comment(form: str) -> str:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
    return encode(Image.new("RGB", (4, 4)), format=form, exif=exif.tobytes())


WHOLE = [
    png({"parameters": INFOTEXT}),
    *(with_comment(form) for form in ("JPEG", "WEBP", "AVIF", "PNG")),
    encode(Image.new("RGB", (4, 4)), format="GIF", comment=INFOTEXT.encode()),
]


async def ask(gateway: RunningGateway, image: object) -> httpx.Response:
    return await gateway.client.post("/sdapi/v1/png-info", json={"image": image})


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_a_png_with_parameters(gateway: RunningGateway, prefix: str) -> None:
    body = (await ask(gateway, prefix + png({"parameters": INFOTEXT, "Software": "Easel"}))).json()
    assert body["info"] == INFOTEXT
    assert body["items"] == {"parameters": INFOTEXT, "Software": "Easel"}
    assert body["parameters"]["Prompt"] == "a cat"
    assert body["parameters"]["Negative prompt"] == "ugly"
    assert body["parameters"]["Steps"] == "20"


async def test_a_picture_without_parameters_is_no_error(gateway: RunningGateway) -> None:
    response = await ask(gateway, png({}))
    assert response.status_code == 200
    assert response.json()["info"] == ""


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "PNG"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16"),
        b"ASCII\0\0\0" + INFOTEXT.encode(),
        bytes(8) + INFOTEXT.encode(),
    ],
)
async def test_other_formats_carry_it_in_the_user_comment(
    gateway: RunningGateway, form: str, comment: bytes
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    body = (await ask(gateway, encode(Image.new("RGB", (4, 4)), format=form, exif=exif.tobytes()))).json()
    assert body["info"] == INFOTEXT
    assert body["parameters"]["Seed"] == "1"


async def test_a_user_comment_in_chinese_is_read(gateway: RunningGateway) -> None:
    text = "\u732b" * 200 + "\nSteps: 1, Seed: 2, Size: 8x8"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    body = (await ask(gateway, encode(Image.new("RGB", (4, 4)), format="JPEG", exif=exif.tobytes()))).json()
    assert body["info"] == text


@pytest.mark.parametrize("form", ["GIF", "JPEG"])
async def test_a_comment_is_read(gateway: RunningGateway, form: str) -> None:
    body = (
        await ask(gateway, encode(Image.new("RGB", (4, 4)), format=form, comment=INFOTEXT.encode()))
    ).json()
    assert body["info"] == INFOTEXT
    assert body["items"] == {"comment": INFOTEXT}


@pytest.mark.parametrize("form", ["BMP", "TIFF", "JPEG", "WEBP", "AVIF", "GIF"])
async def test_pictures_without_texts_have_none(gateway: RunningGateway, form: str) -> None:
    response = await ask(gateway, encode(Image.new("RGB", (4, 4)), format=form))
    assert (response.status_code, response.json()["info"], response.json()["items"]) == (200, "", {})


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def made_up_png(*chunks: bytes, side: int = 4) -> str:
    """A PNG of these chunks, its pixels missing."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "made",
    [
        chunk(b"tEXt", b"parameters\0caf\xe9"),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"caf\xe9")),
        chunk(b"iTXt", b"parameters\0\0\0en\0\xc3\xbc\0caf\xc3\xa9"),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress("caf\xe9".encode())),
    ],
)
async def test_every_kind_of_text_chunk_is_read_behind_the_pixels_too(
    gateway: RunningGateway, made: bytes
) -> None:
    assert (await ask(gateway, made_up_png(chunk(b"IDAT", b""), made))).json()["info"] == "caf\xe9"


async def test_the_pixels_are_not_decoded_so_a_bomb_is_harmless(gateway: RunningGateway) -> None:
    image = made_up_png(chunk(b"IDAT", b"no pixels"), chunk(b"tEXt", b"parameters\0x"), side=2**31 - 1)
    response = await ask(gateway, image)
    assert (response.status_code, response.json()["info"]) == (200, "x")


async def test_a_text_that_inflates_to_gigabytes_is_refused(gateway: RunningGateway) -> None:
    deflater = zlib.compressobj(9)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(64)) + deflater.flush()
    assert len(bomb) < 100_000
    response = await ask(gateway, made_up_png(chunk(b"zTXt", b"parameters\0\0" + bomb)))
    assert response.status_code == 413
    assert "16 MiB" in response.json()["detail"]


def damaged_png() -> str:
    data = bytearray(base64.b64decode(png({"parameters": INFOTEXT})))
    data[data.index(b"a cat")] ^= 1
    return base64.b64encode(data).decode()


def cut(form: str) -> str:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
    data = base64.b64decode(encode(Image.new("RGB", (64, 64)), format=form, exif=exif.tobytes()))
    return base64.b64encode(data[:40]).decode()


@pytest.mark.parametrize(
    "image",
    [
        "",
        "data:image/png;base64,",
        "not base64!",
        base64.b64encode(b"no picture").decode(),
        base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
        base64.b64encode(b"RIFF\0\0\0\0WEBP").decode(),
        png({})[:60],
        damaged_png(),
        made_up_png(chunk(b"zTXt", b"parameters\0\0no zlib")),
        cut("WEBP"),
        cut("AVIF"),
        cut("JPEG"),
    ],
)
async def test_what_is_no_picture_is_refused_in_the_envelope(gateway: RunningGateway, image: str) -> None:
    response = await ask(gateway, image)
    assert response.status_code == 500
    assert set(response.json()) == {"error", "detail", "body", "errors"}
    assert response.json()["detail"] == "Invalid encoded image"


async def test_an_address_is_not_fetched(gateway: RunningGateway) -> None:
    response = await ask(gateway, "http://127.0.0.1:1/a.png")
    assert response.status_code == 422
    assert "base64" in response.json()["detail"][0]["msg"]


@given(
    data=st.binary(max_size=400),
    head=st.sampled_from([b"", b"RIFF", b"\x89PNG\r\n\x1a\n", b"II*\0", b"GIF89a"]),
)
def test_any_bytes_are_read_or_refused(data: bytes, head: bytes) -> None:
    with contextlib.suppress(BrokenPictureError, TextTooLargeError):
        read_texts(head + data)
    user_comment(head + data)


@given(st.data())
def test_any_damage_to_a_real_picture_is_read_or_refused(data: st.DataObject) -> None:
    picture = bytearray(base64.b64decode(data.draw(st.sampled_from(WHOLE))))
    for _ in range(data.draw(st.integers(1, 4))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BrokenPictureError, TextTooLargeError):
        json.dumps(read_texts(bytes(picture)).items).encode()


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (b"{}", ["body", "image"]),
        (b'{"image": 5}', ["body", "image"]),
        (b"{", ["body"]),
        (b"\xff\xfe", ["body"]),
        (b"[]", ["body"]),
    ],
)
async def test_a_wrong_body_is_a_422_that_does_not_repeat_it(
    gateway: RunningGateway, body: bytes, loc: list[str]
) -> None:
    response = await gateway.client.post("/sdapi/v1/png-info", content=body)
    assert response.status_code == 422
    (detail,) = response.json()["detail"]
    assert detail["loc"] == loc
    assert "input" not in detail
