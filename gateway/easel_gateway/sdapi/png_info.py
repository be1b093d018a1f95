"""``POST /sdapi/v1/png-info``: what was written into a picture when it was made."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from easel_contract import infotext
from easel_contract.errors import ContractError
from easel_contract.requests import from_validation
from easel_gateway.edge.body import read_body
from easel_gateway.edge.schema import answers, json_body
from easel_gateway.errors import ApiError
from easel_gateway.gateway import gateway_of
from easel_gateway.pictures import BrokenPictureError, TextTooLargeError, read_texts

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
    """Read the generation parameters out of a PNG, JPEG, WebP, AVIF or GIF picture."""
    body = await read_body(request, gateway_of(request).settings.max_body_bytes)
    try:
        asked = PngInfoRequest.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None
    # In a thread: a picture of many megabytes takes tenths of a second.
    return await asyncio.to_thread(read_picture, asked.image)


def read_picture(encoded: str) -> PngInfoResponse:
    """Decode base64 and read the picture's texts; its pixels are not decoded.

    Raises:
        ApiError: 500 ``Invalid encoded image`` (A1111's status for it) when it is no picture, 413 when it has
            megabytes of text.
        ContractError: 422 for an address: this call fetches nothing.
    """
    encoded = encoded.strip()
    if encoded[:8].lower().startswith(("http://", "https://")):
        raise ContractError("is an address; send the picture itself, as base64", field="image")
    if encoded[:5].lower() == "data:":
        encoded = encoded.partition(",")[2]
    try:
        texts = read_texts(base64.b64decode(encoded, validate=False))
    except TextTooLargeError:
        raise ApiError(413, "image: its texts are larger than 16 MiB") from None
    except (BrokenPictureError, binascii.Error, ValueError) as error:
        raise ApiError(500, "Invalid encoded image") from error
    return PngInfoResponse(
        info=texts.infotext, items=dict(texts.items), parameters=infotext.parse(texts.infotext)
    )
