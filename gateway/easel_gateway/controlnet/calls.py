"""What a worker does for ControlNet beside rendering: ``detect`` and ``render_openpose_json``; and the
generation calls of the extension's first API, which became fields of txt2img and img2img."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from easel_contract.controlnet.detect import DETECT_PATH, DetectRequest, parse_detect
from easel_contract.controlnet.poses import RENDER_POSE_PATH, Pose, parse_poses
from easel_contract.requests import (
    IMG2IMG_PATH,
    TXT2IMG_PATH,
    UNITS_IMG2IMG_PATH,
    UNITS_TXT2IMG_PATH,
    Img2ImgRequest,
    Txt2ImgRequest,
    parse_img2img,
    parse_txt2img,
)
from easel_contract.requests.first_api import with_units
from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.edge.schema import array_body
from easel_gateway.sdapi.generation import route_options, serve

_TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_INFO: dict[str, Any] = {"info": {"type": "string"}}
_DETECTED = {
    "type": "object",
    "properties": {
        **_INFO,
        "images": _TEXTS,
        "warnings": _TEXTS,
        "poses": {"type": "array", "items": {"$ref": f"#/components/schemas/{Pose.__name__}"}},
    },
    "required": ["info"],
}
_DRAWN = {"type": "object", "properties": {**_INFO, "images": _TEXTS}, "required": ["info"]}

router = APIRouter(tags=["ControlNet"], route_class=RawRoute)


@router.post(DETECT_PATH, summary="Run a preprocessor", **route_options(DetectRequest, result=_DETECTED))
async def detect(request: Request) -> Response:
    """Answers or queues as txt2img does: one entry of `images` for each picture."""
    return await serve(request, DETECT_PATH, parse_detect)


@router.post(
    RENDER_POSE_PATH,
    summary="Draw poses",
    **route_options(array_body(Pose), result=_DRAWN),
)
async def render_openpose_json(request: Request) -> Response:
    """A picture for each pose of a list, of the size of its canvas."""
    return await serve(request, RENDER_POSE_PATH, parse_poses)


@router.post(UNITS_TXT2IMG_PATH, summary="txt2img, its units outside", **route_options(Txt2ImgRequest))
async def txt2img(request: Request) -> Response:
    """As /sdapi/v1/txt2img, with `controlnet_units` for the units: an address that older clients call."""
    return await serve(request, TXT2IMG_PATH, parse_txt2img, rewrite=with_units)


@router.post(UNITS_IMG2IMG_PATH, summary="img2img, its units outside", **route_options(Img2ImgRequest, 404))
async def img2img(request: Request) -> Response:
    """As /sdapi/v1/img2img, with `controlnet_units` for the units."""
    return await serve(request, IMG2IMG_PATH, parse_img2img, rewrite=with_units)
