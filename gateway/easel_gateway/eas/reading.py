"""The EAS get: read items of a queue, waiting for them when asked to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from easel_gateway.eas.query import Query
from easel_gateway.eas.target import Target
from easel_gateway.edge.hang_up import watch_hang_up
from easel_gateway.gateway import Gateway, gateway_of
from easel_queue import AsyncQueue, Entry

MAX_LENGTH = 1000
"""Most items of one answer."""
MAX_BYTES = 64 * 1024 * 1024
"""Data of one answer, about: a client that asks for 1000 large items gets the first of them."""
MARGIN_S = 0.3
MARGIN_SHARE = 0.94
"""A long poll is answered at min(t - 0.3 s, 0.94 t): the Python SDK's own timeout equals the one it asks
for, and it repeats the call six times when the answer comes late."""


@dataclass(frozen=True)
class Wanted:
    """What one get looks for."""

    start: int
    limit: int
    request_id: str | None
    tags: dict[str, str]

    @classmethod
    def of(cls, query: Query, *, single: bool) -> Wanted:
        """Read it from the query; `single` asks for one item at most."""
        request_id, tags = query.wanted()
        limit = 1 if single else query.number("_length_", default=1, low=1, high=MAX_LENGTH)
        return cls(query.start(), limit, request_id, tags)


def answer_within(timeout_s: float) -> float:
    """How long to wait for a client that gives up after `timeout_s`."""
    return max(0.0, min(timeout_s - MARGIN_S, timeout_s * MARGIN_SHARE))


async def read(
    queue: AsyncQueue, target: Target, wanted: Wanted, *, remove: bool, data: bool = True
) -> list[Entry]:
    """What is there now, at most `wanted.limit` items, in order. Goes over the whole queue if it must.

    No more are added once their data reaches `MAX_BYTES`; without `data` it is left out.
    """
    found: list[Entry] = []
    size = 0
    start = wanted.start
    while True:
        page = await queue.run(
            target.stream(queue).get(
                start=start,
                limit=wanted.limit - len(found),
                request_id=wanted.request_id,
                tags=wanted.tags,
                remove=remove,
                data=data,
            )
        )
        found += page.entries
        size += sum(len(entry.data) for entry in page.entries)
        if len(found) >= wanted.limit or size >= MAX_BYTES or not page.next_index:
            return found
        start = page.next_index


async def get(request: Request, target: Target, query: Query, *, single: bool) -> list[Entry]:
    """Answer one get: at once when enough is there, else when it is or the time is over.

    Items are removed (``_auto_delete_``, the default) only while the client is still connected, in the same
    step that reads them, so two readers never get the same item.
    """
    gateway = gateway_of(request)
    wanted = Wanted.of(query, single=single)
    remove = query.flag("_auto_delete_", default=True)
    clock = asyncio.get_running_loop()
    deadline = clock.time() + answer_within(query.seconds("_timeout_", longest=gateway.settings.max_poll_s))
    async with watch_hang_up(request) as hang_up:
        while True:
            await hang_up.race(_wait_for_enough(gateway, target, wanted, deadline))
            if hang_up.happened:
                return []
            found = await read(gateway.queue, target, wanted, remove=remove)
            # Nothing, although something was there: another reader was faster, so the wait goes on.
            if found or clock.time() >= deadline or gateway.closing.is_set():
                return found


async def _wait_for_enough(gateway: Gateway, target: Target, wanted: Wanted, deadline: float) -> None:
    """Come back when `wanted.limit` items are there, the time is over or the server stops."""
    clock = asyncio.get_running_loop()
    with gateway.hub.on_queue(target.name) as signal:
        while not gateway.closing.is_set():
            rest = deadline - clock.time()
            if rest <= 0:
                return
            there = await read(gateway.queue, target, wanted, remove=False, data=False)
            if len(there) >= wanted.limit:
                return
            # Cut into pieces, so that a stopping server is noticed.
            await signal.wait(min(rest, 1.0))
