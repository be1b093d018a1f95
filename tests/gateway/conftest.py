"""A real gateway on a free port in the test's own event loop, over the test run's Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from easel_gateway.server import GatewayServer, build_server, listen
from easel_gateway.settings import GatewaySettings
from easel_queue import AsyncQueue, EventHub, Queue, Task

from ..store.conftest import s3_server

__all__ = ["s3_server"]

WAIT_S = 20.0
"""Upper bound for what a test waits for; nothing takes a second of it on a quiet machine."""


@dataclass
class RunningGateway:
    """One gateway under test, a client of it, and the queue behind it."""

    settings: GatewaySettings
    server: _Announced
    serving: asyncio.Task[None]
    url: str
    client: httpx.AsyncClient
    queue: AsyncQueue

    @property
    def source(self) -> str:
        """Path of the input queue."""
        return f"/api/predict/{self.settings.service}"

    @property
    def sink(self) -> str:
        """Path of the sink."""
        return f"{self.source}/sink"

    @property
    def socket_url(self) -> str:
        return self.url.replace("http://", "ws://")

    async def put_result(self, text: str = "result", **tags: str) -> int:
        """A client's own put into the sink; answers the index."""
        response = await self.client.post(self.sink, content=text.encode(), params=tags)
        assert response.status_code == 200, response.text
        return int(response.text)

    async def attributes(self, path: str) -> dict[str, str]:
        response = await self.client.get(path, params={"_attrs_": "true"})
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def follow(self, request_id: str) -> AsyncIterator[tuple[str, Any]]:
        """The server-sent events of one task: name and data. Waits for the task to appear."""
        url = f"/easel/v1/tasks/{request_id}/events?wait_s=20"
        async with self.client.stream("GET", url) as response:
            assert response.status_code == 200, await response.aread()
            name = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))

    async def wait_stored(self, request_id: str) -> None:
        """Come back when the task is on the queue."""
        async with contextlib.aclosing(self.follow(request_id)) as events:
            await anext(events)

    async def wait_ended(self, request_id: str) -> str:
        """The state in which the task ended."""
        *_, (name, last) = [event async for event in self.follow(request_id)]
        assert name == "end"
        return str(last["status"])

    async def stop(self) -> None:
        self.server.should_exit = True
        self.server.told.set()
        await self.serving


StartGateway = Callable[..., Awaitable[RunningGateway]]


class _Announced(GatewayServer):
    """Says when it takes connections, and stops when it is told: uvicorn itself looks ten times a second."""

    up: asyncio.Event
    told: asyncio.Event

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.told.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@pytest.fixture
async def start_gateway(redis_url: str, service: str, tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Starts a gateway with the given settings; stopped after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**overrides: Any) -> RunningGateway:
            values: dict[str, Any] = {
                "redis_url": redis_url,
                "service": service,
                "data_dir": tmp_path / "data",
                "port": 0,
                "shutdown_grace_s": 1,
            }
            settings = GatewaySettings(**{**values, **overrides})
            server = build_server(settings)
            server.__class__ = _Announced
            assert isinstance(server, _Announced)
            server.up, server.told = asyncio.Event(), asyncio.Event()
            sock = listen(settings)
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            await asyncio.wait_for(server.up.wait(), WAIT_S)
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=WAIT_S))
            assert settings.redis_url is not None
            queue = AsyncQueue(settings.redis_url.get_secret_value(), service=settings.service)
            stack.push_async_callback(queue.close)
            gateway = RunningGateway(settings, server, serving, url, client, queue)
            stack.push_async_callback(gateway.stop)
            return gateway

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with the default settings."""
    return await start_gateway()


class Consumer:
    """Stands in for a worker: takes tasks and answers them, through the queue library alone."""

    def __init__(self, queue: AsyncQueue, url: str, worker: str = "consumer") -> None:
        self.queue = queue
        self.url = url
        self.worker = worker

    async def take(self) -> Task:
        """Reserve the next task; waits for one by listening to the queue's events."""
        hub = EventHub(self.queue)
        await hub.start()
        await hub.ready()
        try:
            with hub.on_queue("in") as signal:
                while True:
                    task = await self.queue.run(self.queue.tasks.reserve(worker=self.worker, lease_ms=30_000))
                    if task is not None:
                        return task
                    assert await signal.wait(WAIT_S), "no task came"
        finally:
            await hub.stop()

    async def begin(self) -> Task:
        """Reserve and start."""
        task = await self.take()
        await self.queue.run(self.queue.tasks.start(task, lease_ms=30_000))
        return task

    async def told(self) -> str | None:
        """The next message in the worker's inbox."""
        queue = Queue(self.url, service=self.queue.keys.service)
        try:
            return await asyncio.to_thread(queue.wait_inbox, self.worker, WAIT_S)
        finally:
            queue.close()

    async def finish(self, task: Task, data: bytes = b'{"images":[]}', **tags: str) -> None:
        await self.queue.run(self.queue.tasks.finish(task, data, tags=tags))


@pytest.fixture
def consumer(redis_url: str, gateway: RunningGateway) -> Consumer:
    """A consumer of the default gateway's queue."""
    return Consumer(gateway.queue, redis_url)
