"""gzip for answers that are worth it."""

from __future__ import annotations

import asyncio
import gzip

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES = 1000
"""A1111's limit; below it the frame outweighs the gain."""

INLINE_BYTES = 32 * 1024
"""A larger body is compressed in a thread: it would hold everybody else up for milliseconds."""

LEVEL, LARGE_LEVEL = 5, 1
"""Large bodies are pictures in base64, which lose their quarter at any level."""

_QUEUES = "/api/predict/"
"""What the EAS addresses answer are stored bodies, which go out as they came in."""

_TYPES = ("application/json", "text/plain", "text/html", "text/css", "text/javascript")


class CompressMiddleware:
    """Compress a whole answer of text, for a client that takes gzip. Streams pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_QUEUES) or not _takes_gzip(scope):
            await self.app(scope, receive, send)
            return
        held: Message | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_text(message):
                held = message
                return
            if held is not None:
                start, held = held, None
                body = message.get("body", b"")
                if not message.get("more_body") and len(body) >= LEAST_BYTES:
                    message = {**message, "body": await _compress(body, start)}
                await send(start)
            await send(message)

        await self.app(scope, receive, send_compressed)


def _takes_gzip(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            for coding in value.decode("latin-1").lower().replace(" ", "").split(","):
                word, _, quality = coding.partition(";q=")
                if word == "gzip":
                    return quality.strip("0.") != "" or not quality
    return False


def _is_text(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    part = start["status"] == 206  # its place in the whole is counted in uncompressed bytes
    return kind in _TYPES and not part and "content-encoding" not in headers


async def _compress(body: bytes, start: Message) -> bytes:
    if len(body) <= INLINE_BYTES:
        packed = gzip.compress(body, LEVEL, mtime=0)
    else:
        packed = await asyncio.to_thread(gzip.compress, body, LARGE_LEVEL, mtime=0)
    headers = MutableHeaders(scope=start)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(packed))
    headers.add_vary_header("Accept-Encoding")
    return packed
