"""The event hub wakes whoever waits, and everybody after a reconnect."""

from __future__ import annotations

import asyncio

import pytest

from easel_queue import AsyncQueue, EventHub, Signal, TaskEvents

from ..conftest import RedisServer

WAIT_S = 10.0


async def test_a_result_wakes_the_sink_and_the_task(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_queue("sink") as sink, hub.on_queue("rear") as rear, hub.on_task("r1") as events:
        await aqueue.run(aqueue.tasks.put(b"", request_id="r1"))
        task = await aqueue.run(aqueue.tasks.reserve(worker="w", lease_ms=10_000))
        assert task is not None
        await aqueue.run(aqueue.tasks.start(task, lease_ms=10_000))
        await aqueue.run(aqueue.tasks.progress(task, {"step": 1}))
        await aqueue.run(aqueue.tasks.finish(task, b"done"))
        seen = [await events.next(WAIT_S) for _ in range(4)]
        assert [event and event["s"] for event in seen] == ["waiting", "running", "progress", "done"]
        assert seen[2] == {"r": "r1", "s": "progress", "p": {"step": 1}}
        assert await sink.wait(WAIT_S)
        assert not await sink.wait(0.01), "a wait clears the signal"
        assert not await rear.wait(0.01)


async def test_events_of_other_tasks_stay_away(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_task("mine") as mine, hub.on_task("other") as other:
        await aqueue.run(aqueue.tasks.put(b"", request_id="other"))
        assert await other.next(WAIT_S) is not None
        assert await mine.next(0.01) is None


async def test_everybody_is_woken_after_a_reconnect(own_redis: RedisServer) -> None:
    queue = AsyncQueue(own_redis.url, service="hub")
    hub = EventHub(queue)
    await hub.start()
    await hub.ready()
    with hub.on_queue("sink") as sink, hub.on_task("r") as events:
        own_redis.kill()
        own_redis.start()
        assert await sink.wait(WAIT_S)
        assert await events.next(WAIT_S) == {"s": "resync"}
    await hub.stop()
    await queue.close()


@pytest.mark.parametrize("steps", range(5))
async def test_a_cancellation_is_not_swallowed_by_a_signal_that_comes_with_it(steps: int) -> None:
    """Else a watch would run on that nobody stops any more."""
    signal = Signal()
    waiting = asyncio.create_task(signal.wait(60))
    for _ in range(3):
        await asyncio.sleep(0)  # now it waits
    signal.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert await waiting, "it had come back before"


@pytest.mark.parametrize("steps", range(5))
async def test_nor_by_an_event_of_a_task(steps: int) -> None:
    """Else a caller's hang-up would not cancel its task."""
    events = TaskEvents()
    waiting = asyncio.create_task(events.next(60))
    for _ in range(3):
        await asyncio.sleep(0)
    events.add({"s": "running"})
    for _ in range(steps):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert await waiting == {"s": "running"}
