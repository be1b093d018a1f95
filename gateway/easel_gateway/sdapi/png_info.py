"""``POST /sdapi/v1/png-info``: what was written into a picture when it was made."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from typing import Any

from fastapi import APIRouter, Request
from PIL import Image
from pydantic import BaseModel, ValidationError

from easel_contract import infotext
from easel_contract.requests import from_validation
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.errors import ApiError
from easel_gateway.gateway import gateway_of

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded: a small file can claim to be any size."""
_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769

router = APIRouter(tags=["A1111"])


class PngInfoRequest(BaseModel):
    """`image`: base64, with or without a ``data:`` prefix."""

    image: str


class PngInfoResponse(BaseModel):
    """`info`: the infotext or "". `items`: all text chunks. `parameters`: the infotext's fields."""

    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]


@router.post(
    "/sdapi/v1/png-info",
    openapi_extra=json_body(PngInfoRequest),
    responses=answers(None, 408, 413, 422, 500),
)
async def png_info(request: Request) -> PngInfoResponse:
    """Read the generation parameters out of a PNG, JPEG or WebP picture."""
    body = await read_body(request, gateway_of(request).settings.max_body_bytes)
    try:
        asked = PngInfoRequest.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None
    # In a thread: decoding takes up to seconds and would stop everybody else.
    return await asyncio.to_thread(read_picture, asked.image)


def read_picture(encoded: str) -> PngInfoResponse:
    """Decode base64 and read the picture's texts.

    Raises:
        ApiError: 500 ``Invalid encoded image`` (A1111's status for it) when it is no picture.
    """
    if encoded.startswith("data:"):
        encoded = encoded.partition(",")[2]
    try:
        data = base64.b64decode(encoded, validate=False)
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ApiError(413, f"image: at most {MAX_PIXELS} pixels")
            picture.load()  # text chunks may stand behind the pixels
            items = {
                str(name): value if isinstance(value, str) else value.decode("utf-8", "replace")
                for name, value in picture.info.items()
                if isinstance(value, (str, bytes)) and name not in {"exif", "icc_profile", "xmp", "photoshop"}
            }
            comment = _user_comment(picture)
    except (binascii.Error, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        # SyntaxError is what Pillow raises for some broken PNG files.
        raise ApiError(500, "Invalid encoded image") from error
    info = items.get("parameters") or comment
    return PngInfoResponse(info=info, items=items, parameters=infotext.parse(info))


def _user_comment(picture: Image.Image) -> str:
    """The EXIF user comment, where JPEG and WebP carry the infotext.

    EXIF 2.3, section 4.6.5: the first 8 bytes name the character set.
    """
    raw = picture.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    if isinstance(raw, str):
        return raw
    charset, text = raw[:8], raw[8:]
    if charset == b"UNICODE\0":
        return str(text.decode("utf-16-be" if text[:1] == b"\0" else "utf-16-le", "replace"))
    return str((text if charset == b"ASCII\0\0\0" else raw).decode("utf-8", "replace").strip("\0"))
