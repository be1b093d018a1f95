"""What the gateway does in the background."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from easel_gateway.duties.duty import Duty
from easel_queue import AsyncQueue, State

from .conftest import RunningGateway, StartGateway


@pytest.fixture
async def busy(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(max_delivery=2, reap_interval_s=0.05)


async def vanish(queue: AsyncQueue) -> None:
    """A worker starts the next task and is never heard of again."""
    task = await queue.run(queue.tasks.reserve(worker="doomed", lease_ms=30_000))
    assert task is not None
    await queue.run(queue.tasks.start(task, lease_ms=1))


async def test_a_vanished_workers_task_is_delivered_again_and_then_given_up(busy: RunningGateway) -> None:
    put = await busy.client.post(busy.source, content=b"x", params={"task_id": "t"})
    request_id = put.headers["X-Request-Id"]
    await vanish(busy.queue)
    async for name, data in busy.follow(request_id):
        if name == "state" and data["status"] == "waiting":
            await vanish(busy.queue)
    status = await busy.queue.run(busy.queue.tasks.status(request_id))
    assert status is not None
    assert status.state is State.DEAD
    (result,) = (await busy.client.get(busy.sink, params={"_length_": "9"})).json()
    assert result["tags"] == {"requestId": request_id, "task_id": "t", "lastCode": "500"}
    body = json.loads(base64.b64decode(result["data"]))
    assert "2 deliveries" in body["parameters"]["error_msg"]
    rear = {"X-EAS-QueueService-Access-Rear": "true"}
    (letter,) = (await busy.client.get(busy.source, headers=rear)).json()
    assert letter["tags"]["requestId"] == request_id


async def test_a_cancelled_task_of_a_vanished_worker_ends_as_cancelled(busy: RunningGateway) -> None:
    put = await busy.client.post(busy.source, content=b"x")
    request_id = put.headers["X-Request-Id"]
    queue = busy.queue
    task = await queue.run(queue.tasks.reserve(worker="doomed", lease_ms=30_000))
    assert task is not None
    await queue.run(queue.tasks.start(task, lease_ms=500))
    await busy.client.post(f"/easel/v1/tasks/{request_id}/cancel")
    assert await busy.wait_ended(request_id) == "cancelled"
    (result,) = (await busy.client.get(busy.sink)).json()
    assert result["tags"]["lastCode"] == "499"


async def test_items_of_a_vanished_gateways_watcher_are_given_back(busy: RunningGateway) -> None:
    await busy.put_result()
    calls = busy.queue.sink
    who = {"group": "eas", "uid": "lost", "connection": "c"}
    await busy.queue.run(calls.join(**who, window=5, start=0, ttl_ms=1))
    assert len(await busy.queue.run(calls.deliver(**who, limit=5))) == 1
    hub = busy.server.app.state.gateway.hub
    with hub.on_queue("sink") as signal:
        while (await busy.queue.run(calls.attributes())).groups[0].todo == 0:
            assert await signal.wait(20), "nobody swept"


class Flaky(Duty):
    """Fails in its first round."""

    def __init__(self) -> None:
        super().__init__(0.001)
        self.rounds = 0
        self.well = asyncio.Event()

    async def round(self) -> None:
        self.rounds += 1
        if self.rounds == 1:
            raise RuntimeError("not yet")
        self.well.set()


async def test_a_duty_outlives_a_failing_round() -> None:
    duty = Flaky()
    duty.start()
    await asyncio.wait_for(duty.well.wait(), 10)
    await duty.stop()
    rounds = duty.rounds
    await asyncio.sleep(0.01)
    assert duty.rounds == rounds, "stopped means stopped"
