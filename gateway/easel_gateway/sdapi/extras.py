"""``POST /sdapi/v1/extra-single-image``, ``extra-batch-images``, ``interrogate``: no prompt."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from easel_contract.extras import (
    BATCH_PATH,
    INTERROGATE_PATH,
    SINGLE_PATH,
    ExtrasBatchRequest,
    ExtrasSingleRequest,
    InterrogateRequest,
    parse_extras_batch,
    parse_extras_single,
    parse_interrogate,
)
from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.sdapi.generation import route_options, serve

_TEXT = {"type": "string"}
_SINGLE = {"type": "object", "properties": {"html_info": _TEXT, "image": _TEXT}}
_BATCH = {"type": "object", "properties": {"html_info": _TEXT, "images": {"type": "array", "items": _TEXT}}}
_CAPTION = {"type": "object", "properties": {"caption": _TEXT}}

router = APIRouter(tags=["A1111"], route_class=RawRoute)


@router.post(
    SINGLE_PATH,
    summary="Enlarge a picture, restore faces",
    **route_options(ExtrasSingleRequest, result=_SINGLE),
)
async def extra_single_image(request: Request) -> Response:
    """Answers or queues as txt2img does."""
    return await serve(request, SINGLE_PATH, parse_extras_single)


@router.post(
    BATCH_PATH, summary="The same for several pictures", **route_options(ExtrasBatchRequest, result=_BATCH)
)
async def extra_batch_images(request: Request) -> Response:
    """All pictures are treated alike, and answered in their order."""
    return await serve(request, BATCH_PATH, parse_extras_batch)


@router.post(
    INTERROGATE_PATH,
    summary="Describe a picture",
    **route_options(InterrogateRequest, 404, result=_CAPTION),
)
async def interrogate(request: Request) -> Response:
    """`clip` captions with BLIP and adds CLIP's ranks; `deepdanbooru` answers tags."""
    return await serve(request, INTERROGATE_PATH, parse_interrogate)
