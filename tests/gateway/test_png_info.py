"""Reading generation parameters out of pictures."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import httpx
import pytest
from PIL import Image, PngImagePlugin

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


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
async def test_jpeg_and_webp_carry_it_in_the_user_comment(gateway: RunningGateway, form: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
    body = (await ask(gateway, encode(Image.new("RGB", (4, 4)), format=form, exif=exif))).json()
    assert body["info"] == INFOTEXT


def bomb() -> str:
    """A PNG of a few bytes that claims to have 30,000 x 30,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "image", ["", "not base64!", base64.b64encode(b"no picture").decode(), png({})[:60], bomb()]
)
async def test_what_is_no_picture_is_refused_in_the_envelope(gateway: RunningGateway, image: str) -> None:
    response = await ask(gateway, image)
    assert response.status_code in {413, 500}
    assert set(response.json()) == {"error", "detail", "body", "errors"}
    assert "Traceback" not in response.text


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
