"""A short route is the router's route, only sooner."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response

from easel_gateway.edge.raw_route import RawRoute
from easel_gateway.edge.short_routes import ShortRoutesMiddleware

router = APIRouter(route_class=RawRoute)


def shown(request: Request) -> Response:
    scope: dict[str, Any] = dict(request.scope)
    return JSONResponse(
        {
            "params": scope["path_params"],
            "route": scope["route"].path,
            "endpoint": scope["endpoint"].__name__,
            "application": request.app.title,
            "asked the router": "router" in scope,
        }
    )


@router.post("/queue/{rest:path}")
async def put(request: Request) -> Response:
    return shown(request)


@router.get("/queue/{rest:path}")
async def get(request: Request) -> Response:
    return shown(request)


@router.post("/queue")
async def exact(request: Request) -> Response:
    return shown(request)


def application(*, short: bool) -> FastAPI:
    middleware = [Middleware(ShortRoutesMiddleware, routes=router.routes)] if short else []
    app = FastAPI(title="short", middleware=middleware, redirect_slashes=False)
    app.include_router(router)
    return app


async def ask(app: FastAPI, method: str, path: str) -> tuple[int, Any, str | None]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://short") as client:
        answer = await client.request(method, path)
    return answer.status_code, answer.json() if answer.content else None, answer.headers.get("allow")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/queue/a", "/queue/", "/queue", "/queue/a/b%2Fc%20d%0A", "/queue/%C3%A9", "/queues/a", "/"]
)
async def test_every_request_is_answered_as_by_the_router(method: str, path: str) -> None:
    status, body, allow = await ask(application(short=True), method, path)
    plain_status, plain_body, plain_allow = await ask(application(short=False), method, path)
    if status == 200:
        assert body.pop("asked the router") is False
        assert plain_body.pop("asked the router") is True
    assert (status, body, allow) == (plain_status, plain_body, plain_allow)


def test_a_route_with_a_parameter_that_is_converted_is_refused() -> None:
    numbered = APIRouter(route_class=RawRoute)
    numbered.add_api_route("/task/{number:int}", put, methods=["GET"])
    with pytest.raises(ValueError, match="/task/"):
        ShortRoutesMiddleware(application(short=False), numbered.routes)
