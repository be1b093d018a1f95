"""A gateway that keeps nearly every body in the store, and a worker that knows the way there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easel_claims import Claims, Depot
from easel_queue import Queue, Task
from easel_store import claims_store

from ..conftest import WAIT_S, Consumer, RunningGateway, StartGateway

LARGE = 4096
"""The threshold of these tests: the lowest that is allowed."""
BODY = secrets.token_bytes(200_000)
REAR = {"X-EAS-QueueService-Access-Rear": "true"}
PATH = "/sdapi/v1/txt2img"


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(queue_claim_bytes=LARGE, claim_grace_s=0, reap_interval_s=0.02, max_delivery=2)


@pytest.fixture
def folder(gateway: RunningGateway) -> Path:
    return Path(gateway.settings.data_dir, "claims")


def files(folder: Path) -> list[Path]:
    """Bodies in the store, half-written ones too."""
    return [path for path in folder.rglob("*") if path.is_file()]


def is_there(path: Path) -> bool:
    return path.exists()


async def until(condition: Callable[[], bool]) -> None:
    """Poll what has no event of its own."""
    for _ in range(int(WAIT_S / 0.02)):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition never became true")


async def until_empty(folder: Path) -> None:
    """Come back when the sweeper has deleted everything."""
    await until(lambda: not files(folder))


class Worker(Consumer):
    """Takes tasks and answers them through the queue and the store, as a worker does."""

    def __init__(self, gateway: RunningGateway) -> None:
        assert gateway.settings.redis_url is not None
        url = gateway.settings.redis_url.get_secret_value()
        super().__init__(gateway.queue, url)
        store = claims_store(gateway.settings)
        self.depot = Depot(store, service=gateway.settings.service, threshold=LARGE)

    async def answer(self, task: Task, data: bytes, *, dead: bool = False, **tags: str) -> None:
        def finish() -> None:
            queue = Queue(self.url, service=self.queue.keys.service)
            tasks = queue.tasks
            try:
                Claims(self.depot, queue.claims, _Plain(queue)).run(
                    data,
                    lambda body: (
                        tasks.fail(task, error="e", data=body, max_delivery=1)
                        if dead
                        else tasks.finish(task, body, tags=tags)
                    ),
                )
            finally:
                queue.close()

        await asyncio.to_thread(finish)


class _Plain:
    """A queue that is never away."""

    def __init__(self, queue: Queue) -> None:
        self.run: Callable[[Any], Any] = queue.run
        self.attempt: Callable[[Any], Any] = queue.run


@pytest.fixture
def worker(gateway: RunningGateway) -> Worker:
    return Worker(gateway)


async def put(gateway: RunningGateway, path: str, body: bytes = BODY, **options: Any) -> str:
    response = await gateway.client.post(path, content=body, **options)
    assert response.status_code == 200, response.text
    return str(response.headers["X-Eas-Queueservice-Request-Id"])
