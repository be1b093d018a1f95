"""A TCP proxy that hands its connections to several addresses in turn, as a load balancer does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import cycle


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def round_robin(ports: Sequence[int]) -> AsyncIterator[str]:
    """Answers the address; each new connection goes to the next of `ports`."""
    turns = cycle(ports)
    pairs: set[asyncio.Future[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", next(turns))
        both = asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        pairs.add(asyncio.ensure_future(_ended(both)))

    async def _ended(both: asyncio.Future[list[None]]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await both

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for pair in pairs:
            pair.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)
