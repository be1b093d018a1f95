"""``POST /sdapi/v1/txt2img`` and ``POST /sdapi/v1/img2img``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from easel_contract.requests import (
    IMG2IMG_PATH,
    TXT2IMG_PATH,
    Img2ImgRequest,
    Txt2ImgRequest,
    parse_img2img,
    parse_txt2img,
)
from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.sdapi.generation import route_options, serve

router = APIRouter(tags=["A1111"], route_class=RawRoute)


@router.post(TXT2IMG_PATH, summary="Render pictures from a prompt", **route_options(Txt2ImgRequest))
async def txt2img(request: Request) -> Response:
    """Without query parameters the answer is the result. With any (they become the task's tags), or with
    `Prefer: respond-async`, the answer is the task's index and the result goes to the sink. Repeated under
    the same `Idempotency-Key` header (or `force_task_id`) it renders once and answers the same."""
    return await serve(request, TXT2IMG_PATH, parse_txt2img)


@router.post(
    IMG2IMG_PATH, summary="Render pictures from a picture and a prompt", **route_options(Img2ImgRequest, 404)
)
async def img2img(request: Request) -> Response:
    """As txt2img, from `init_images` (base64, data URIs or addresses), with or without a mask."""
    return await serve(request, IMG2IMG_PATH, parse_img2img)
