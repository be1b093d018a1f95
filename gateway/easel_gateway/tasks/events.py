"""Following one task from the line to its end, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from easel_gateway.gateway import Gateway
from easel_gateway.tasks.previews import data_uri, newest_preview
from easel_queue import State, Status

MAX_WAIT_S = 30.0
POLL_S = 1.0
"""How often a waiting task's position is looked up: it moves without an event of its own."""
KEEP_ALIVE_S = 15.0
"""A comment goes out after this much silence, so that proxies do not cut the stream."""


def render_status(status: Status) -> dict[str, Any]:
    """One task as JSON. `position` is the number of tasks ahead of it, null unless it waits."""
    return {
        "request_id": status.request_id,
        "status": status.state.value,
        "index": status.index,
        "position": status.ahead if status.state is State.WAITING else None,
        "deliveries": status.deliveries,
        "worker": status.worker or None,
        "progress": status.progress or None,
        "tags": status.tags,
        "errors": list(status.errors),
        "sink_index": status.sink_index or None,
    }


async def follow(gateway: Gateway, request_id: str, *, wait_s: float) -> AsyncIterator[bytes]:
    """Events of one task until it ends: ``state`` when its state or position changed, ``progress`` with the
    worker's snapshot, ``preview`` with a picture so far, ``end`` with the last state. Yields nothing if no
    such task appears within `wait_s`."""
    with gateway.hub.on_task(request_id) as events:
        status = await _first_status(gateway, request_id, wait_s)
        shown: object = None
        silent_s = 0.0
        shown_preview = -1
        while status is not None:
            body = render_status(status)
            if status.state.ended:
                yield _event("end", body)
                return
            place = (status.state, status.ahead, status.deliveries)
            if place != shown:
                shown, silent_s = place, 0.0
                yield _event("state", body)
            event = await events.next(POLL_S)
            while event is not None and event.get("s") in {"progress", "preview"}:
                silent_s = 0.0
                if event["s"] == "progress":
                    yield _event("progress", event.get("p") or {})
                elif (preview := await newest_preview(gateway, request_id, known=shown_preview)) is not None:
                    shown_preview = preview.number
                    yield _event("preview", {"id": preview.number, "image": data_uri(preview)})
                event = await events.next(POLL_S)
            if gateway.closing.is_set():
                return
            if event is None:
                silent_s += POLL_S
                if silent_s >= KEEP_ALIVE_S:
                    silent_s = 0.0
                    yield b": still here\n\n"
            status = await gateway.queue.run(gateway.queue.tasks.status(request_id))
        if shown is not None:
            yield _event("end", {"request_id": request_id, "status": State.DELETED.value})


async def _first_status(gateway: Gateway, request_id: str, wait_s: float) -> Status | None:
    clock = asyncio.get_running_loop()
    deadline = clock.time() + wait_s
    known = gateway.queue.tasks.status(request_id)
    if (status := await gateway.queue.run(known)) is not None or wait_s <= 0:
        return status
    with gateway.hub.on_task(request_id, arrival=True) as events:
        while True:
            status = await gateway.queue.run(known)
            rest = deadline - clock.time()
            if status is not None or rest <= 0 or gateway.closing.is_set():
                return status
            await events.next(min(rest, POLL_S))


def _event(name: str, body: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
