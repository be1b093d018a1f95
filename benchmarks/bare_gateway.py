"""What the gateway is compared with: a FastAPI route that does one XADD, in uvicorn set up as the gateway's.

Usage: ``python bare_gateway.py <redis url> <port>``.
"""

from __future__ import annotations

import sys

import redis.asyncio
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse


def create_app(url: str) -> FastAPI:
    """The application: it stores what it is sent, without looking at it."""
    app = FastAPI()
    # As the gateway's: with the default pool, whose 100 connections run out, 256 clients get errors.
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=64, timeout=10)
    client = redis.asyncio.Redis.from_pool(pool)

    @app.post("/put")
    async def put(request: Request) -> PlainTextResponse:
        index = await client.xadd("bare", {"data": await request.body()})
        return PlainTextResponse(index)

    return app


def main() -> None:
    url, port = sys.argv[1], int(sys.argv[2])
    uvicorn.run(
        create_app(url),
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
