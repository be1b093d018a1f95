"""When is it ready? Each probe answers "" or what is still missing, in words."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Awaitable, Callable

from easel_queue import Queue, QueueUnavailableError

PROBE_TIMEOUT_S = 3.0
PAUSE_S = 0.1
"""Between two looks; nothing that starts can announce itself to all of its kinds of watchers."""
PATIENCE_S = 30.0
"""After this long, say what is being waited for."""

Probe = Callable[[], str]


def redis_answers(url: str, service: str) -> str:
    """PING through the queue's own client."""
    queue = Queue(url, service=service)
    try:
        queue.ping()
    except QueueUnavailableError as exc:
        return str(exc)
    finally:
        queue.close()
    return ""


def workers_seen(url: str, service: str, pids: Callable[[], set[int]], wanted: int) -> str:
    """A heartbeat of each of `wanted` workers that this machine's supervisor started."""
    queue = Queue(url, service=service)
    try:
        seen = {worker.info.get("pid") for worker in queue.run(queue.tasks.workers())} & pids()
    except QueueUnavailableError as exc:
        return str(exc)
    finally:
        queue.close()
    return "" if len(seen) >= wanted else f"{len(seen)} of {wanted} workers have said that they live"


def gateway_answers(host: str, port: int, authorization: str) -> str:
    """GET /readyz; a 503's body says what the gateway itself waits for."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request(
            "GET", "/readyz", headers={"Authorization": authorization} if authorization else {}
        )
        answer = connection.getresponse()
        body = answer.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        return f"the gateway does not answer yet ({exc})"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"the gateway is not ready ({answer.status} {body})"


async def wait_for(probe: Probe, *, say: Callable[[str], None]) -> None:
    """Return once `probe` finds nothing missing. Waits without end: the caller cancels."""
    began = told = time.monotonic()
    while True:
        missing = await asyncio.to_thread(probe)
        if not missing:
            return
        if time.monotonic() - told > PATIENCE_S:
            told = time.monotonic()
            say(f"still waiting after {told - began:.0f} s: {missing}")
        await asyncio.sleep(PAUSE_S)


async def first_of(*waits: Awaitable[object]) -> int:
    """Index of the wait that ends first (the lowest of several); the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = next(index for index, task in enumerate(tasks) if task.done())
        tasks[winner].result()
        return winner
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def probe_host(host: str) -> str:
    """Where to ask a server that listens on `host`: on every address means on loopback too."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound


def port_problem(host: str, port: int) -> str:
    """ "" if `host`:`port` can be listened on, else one line that says why not."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        return f"EASEL_HOST={host}: {exc.strerror}"
    family, kind, proto, _, address = found[0]
    with socket.socket(family, kind, proto) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as exc:
            return (
                f"cannot listen on {host}:{port}: {(exc.strerror or str(exc)).lower()}; "
                "stop what uses it, or choose another with --port"
            )
    return ""
