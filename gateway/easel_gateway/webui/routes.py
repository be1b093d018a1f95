"""Serves the page and its two files."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def _page(name: str, media_type: str) -> Response:
    body = (files("easel_gateway.webui") / name).read_bytes()
    return Response(body, media_type=media_type, headers=_HEADERS)


@router.get("/")
async def index() -> Response:
    """The page."""
    return _page("index.html", "text/html")


@router.get("/webui/easel.css")
async def style() -> Response:
    """Its style."""
    return _page("easel.css", "text/css")


@router.get("/webui/easel.js")
async def script() -> Response:
    """Its behaviour."""
    return _page("easel.js", "text/javascript")
