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
        seen = [await events.next(WAIT_S) for _ in range(3)]
        assert [event and event["s"] for event in seen] == ["running", "progress", "done"]
        assert seen[1] == {"r": "r1", "s": "progress", "p": {"step": 1}}
        assert await sink.wait(WAIT_S)
        assert not await sink.wait(0.01), "a wait clears the signal"
        assert not await rear.wait(0.01)


async def test_events_of_other_tasks_stay_away(aqueue: AsyncQueue, hub: EventHub) -> None:
    await aqueue.run(aqueue.tasks.put(b"", request_id="other"))
    with hub.on_task("mine") as mine, hub.on_task("other") as other:
        await aqueue.run(aqueue.tasks.cancel(request_id="other", data=b""))
        assert await other.next(WAIT_S) is not None
        assert await mine.next(0.01) is None


async def listeners(queue: AsyncQueue) -> int:
    """How many connections listen to what is put."""
    (_, count), *_ = await queue._redis.pubsub_numsub(queue.keys.arrivals)
    return int(count)


async def test_a_put_is_told_to_those_who_wait_for_it(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_task("r1", arrival=True) as task, hub.on_queue("in") as source:
        assert await task.next(WAIT_S) == {"s": "resync"}, "from now on nothing is missed"
        assert await source.wait(WAIT_S)
        with hub.on_watch("in", group="g", uid="a") as turn:
            turn.begin()
            await aqueue.run(aqueue.tasks.put(b"", request_id="r1"))
            assert await task.next(WAIT_S) == {"q": "in", "r": "r1", "s": "waiting"}
            assert await source.wait(WAIT_S)
            await asyncio.wait_for(turn.wait(WAIT_S), WAIT_S / 2)


async def test_puts_are_listened_to_only_while_somebody_waits_for_one(
    aqueue: AsyncQueue, hub: EventHub
) -> None:
    with hub.on_queue("sink"), hub.on_task("r1"):
        await aqueue.run(aqueue.tasks.put(b"", request_id="r1"))
        assert await listeners(aqueue) == 0
    for number in range(3):
        with hub.on_queue("in") as source, hub.on_queue("in"):
            assert await source.wait(WAIT_S), "who comes in looks again when the subscription stands"
            assert await listeners(aqueue) == 1
        await aqueue.run(aqueue.tasks.put(b"", request_id=f"end{number}"))
        while await listeners(aqueue):  # noqa: ASYNC110 - Redis tells nobody that somebody unsubscribed
            await asyncio.sleep(0.001)


async def test_who_comes_while_the_last_one_goes_misses_nothing(aqueue: AsyncQueue, hub: EventHub) -> None:
    for number in range(20):
        with hub.on_queue("in"):
            await asyncio.sleep(0)
        putting = asyncio.create_task(aqueue.run(aqueue.tasks.put(b"", request_id=f"a{number}")))
        for _ in range(number):
            await asyncio.sleep(0)
        with hub.on_queue("in") as source:
            await putting
            await aqueue.run(aqueue.tasks.put(b"", request_id=f"b{number}"))
            assert await source.wait(WAIT_S)


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
