"""The EAS get: read items of a queue, waiting for them when asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from easel_gateway.bodies import whole
from easel_gateway.eas.query import Query
from easel_gateway.eas.target import Target
from easel_gateway.edge.hang_up import watch_hang_up
from easel_gateway.gateway import Gateway, gateway_of
from easel_queue import GET_BYTES, AsyncQueue, Entry, QueueUnavailableError

MAX_LENGTH = 1000
"""Most items of one answer."""
MAX_BYTES = 64 * 1024 * 1024
"""Bodies of one answer, about: once they are this large no more items are added."""
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
) -> tuple[list[Entry], int]:
    """What is there now, in order, at most `wanted.limit` items and about `MAX_BYTES`, and how many bytes.

    Goes over the whole queue if it must. Without `data` it is left out, though its bytes count.

    With `remove` they are gone; but if the body of one is a claim, all of them are still there: see `take`.
    """
    found: list[Entry] = []
    start, size = wanted.start, 0
    while True:
        page = await queue.run(
            target.stream(queue).get(
                start=start,
                limit=wanted.limit - len(found),
                request_id=wanted.request_id,
                tags=wanted.tags,
                remove=remove,
                data=data,
                max_bytes=min(GET_BYTES, MAX_BYTES - size),
            )
        )
        if remove and found and _large(page.entries):
            return found, size  # these are gone, those are not: they are for the next get
        found += page.entries
        size += page.bytes
        if len(found) >= wanted.limit or size >= MAX_BYTES or not page.next_index:
            return found, size
        start = page.next_index


async def take(queue: AsyncQueue, target: Target, found: list[Entry]) -> list[Entry]:
    """Remove items whose bodies are here by now. What somebody else has removed meanwhile is left out, and
    so is what stays because Redis went away midway."""
    stream = target.stream(queue)
    taken: list[Entry] = []
    for entry in found:
        try:
            page = await queue.run(stream.get(start=entry.index, remove=True, fetched=True))
        except QueueUnavailableError:
            if taken:
                return taken
            raise
        if page.entries:
            taken.append(entry)
    return taken


def _large(entries: Sequence[Entry]) -> bool:
    return any(entry.claim for entry in entries)


async def get(request: Request, target: Target, query: Query, *, single: bool) -> list[Entry]:
    """Answer one get: at once when enough is there, else when it is or the time is over.

    Items are removed (``_auto_delete_``, the default) only while the client is still connected, in the same
    step that reads them, so two readers never get the same item; large ones once their bodies are here.
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
            found, _ = await read(gateway.queue, target, wanted, remove=remove)
            if _large(found):
                # Fetched before they are removed: neither a store that is away nor a hang-up loses them.
                bodies = await hang_up.race(whole(gateway.claims, found))
                if bodies is None or hang_up.happened:
                    return []
                found = await take(gateway.queue, target, bodies) if remove else bodies
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
            there, size = await read(gateway.queue, target, wanted, remove=False, data=False)
            if len(there) >= wanted.limit or size >= MAX_BYTES:
                return
            # Cut into pieces, so that a stopping server is noticed.
            await signal.wait(min(rest, 1.0))
