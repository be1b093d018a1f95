"""Whose turn it is to look: one watcher of a group for each item, and nobody is forgotten."""

from __future__ import annotations

import asyncio

from easel_queue import AsyncQueue, Delivery, EventHub, Turn

from ..conftest import RedisServer

WAIT_S = 10.0
SHORT_S = 0.05
"""For what shall not come."""


def found(count: int = 0, *, left: int = 0, room: int = 5) -> Delivery:
    return Delivery.of(tuple([None] * count), left=left, room=room)  # type: ignore[list-item]


def look(turn: Turn, *, left: int = 0, room: int = 5) -> None:
    """It looks, and finds nothing for itself."""
    turn.begin()
    turn.looked(found(left=left, room=room))


def waiting(turn: Turn, timeout_s: float = WAIT_S) -> asyncio.Task[None]:
    return asyncio.create_task(turn.wait(timeout_s))


async def ended(*tasks: asyncio.Task[None]) -> list[bool]:
    """Which of them are over, after everybody had time to run."""
    await asyncio.sleep(SHORT_S)
    return [task.done() for task in tasks]


async def append(queue: AsyncQueue, request_id: str) -> None:
    await queue.run(queue.sink.append(b"x", request_id=request_id))


async def test_an_item_calls_one_watcher_of_each_group_in_turn(aqueue: AsyncQueue, hub: EventHub) -> None:
    with (
        hub.on_watch("sink", group="g", uid="a") as a,
        hub.on_watch("sink", group="g", uid="b") as b,
        hub.on_watch("sink", group="h", uid="c") as c,
        hub.on_watch("rear", group="g", uid="d") as d,
    ):
        for turn in (a, b, c, d):
            look(turn)
        tasks = [waiting(turn) for turn in (a, b, c, d)]
        assert await ended(*tasks) == [False] * 4
        await append(aqueue, "r1")
        await asyncio.wait_for(asyncio.gather(tasks[0], tasks[2]), WAIT_S)
        assert await ended(*tasks) == [True, False, True, False]
        look(a)
        tasks[0] = waiting(a)
        await append(aqueue, "r2")
        await asyncio.wait_for(tasks[1], WAIT_S)
        assert await ended(*tasks) == [False, True, True, False], "who waits longest is called"
        for task in tasks:
            task.cancel()


async def test_who_leaves_something_behind_calls_the_next_and_the_chain_ends(
    aqueue: AsyncQueue, hub: EventHub
) -> None:
    with (
        hub.on_watch("sink", group="g", uid="a") as a,
        hub.on_watch("sink", group="g", uid="b") as b,
    ):
        look(a)
        look(b)
        first, second = waiting(a), waiting(b)
        await append(aqueue, "r1")
        await asyncio.wait_for(first, WAIT_S)
        look(a, left=1)  # an item that its filter does not want
        await asyncio.wait_for(second, WAIT_S)
        first = waiting(a)
        look(b, left=1)
        second = waiting(b)
        assert await ended(first, second) == [False, False], "both have seen it"
        first.cancel()
        second.cancel()


async def test_a_change_during_a_look_is_looked_at_again(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_watch("sink", group="g", uid="a") as a, hub.on_queue("sink") as signal:
        a.begin()
        await append(aqueue, "r1")
        assert await signal.wait(WAIT_S)
        a.looked(found())
        await asyncio.wait_for(a.wait(WAIT_S), SHORT_S * 20)


async def test_who_goes_without_having_looked_passes_the_call_on(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_watch("sink", group="g", uid="b") as b:
        with hub.on_watch("sink", group="g", uid="a") as a:
            look(a)
            first = waiting(a)
            await asyncio.sleep(0)  # so that it waits before the other one
            look(b)
            second = waiting(b)
            await append(aqueue, "r1")
            await asyncio.wait_for(first, WAIT_S)
            assert await ended(second) == [False]
        await asyncio.wait_for(second, WAIT_S)


async def test_a_full_window_is_called_by_a_commit_and_not_by_an_item(
    aqueue: AsyncQueue, hub: EventHub
) -> None:
    sink = aqueue.sink
    who = {"group": "g", "uid": "a b", "connection": "c"}
    await aqueue.run(sink.join(**who, window=1, ttl_ms=60_000))
    await append(aqueue, "r1")
    with hub.on_watch("sink", group="g", uid="a b") as a:
        a.begin()
        delivery = await aqueue.run(sink.deliver(**who, limit=5))
        a.looked(delivery)
        assert ([entry.index for entry in delivery], delivery.left, delivery.room) == ([1], 0, 0)
        task = waiting(a)
        await append(aqueue, "r2")
        assert await ended(task) == [False]
        await aqueue.run(sink.commit([1], group="g"))
        await asyncio.wait_for(task, WAIT_S)


async def test_room_made_during_a_look_is_not_missed(aqueue: AsyncQueue, hub: EventHub) -> None:
    sink = aqueue.sink
    who = {"group": "g", "uid": "a", "connection": "c"}
    await aqueue.run(sink.join(**who, window=1, ttl_ms=60_000))
    await append(aqueue, "r1")
    with hub.on_watch("sink", group="g", uid="a") as a, hub.on_queue("sink") as signal:
        a.begin()
        delivery = await aqueue.run(sink.deliver(**who, limit=5))
        await aqueue.run(sink.commit([1], group="g"))
        assert await signal.wait(WAIT_S)  # the news is here before the look is over
        a.looked(delivery)
        await asyncio.wait_for(a.wait(WAIT_S), SHORT_S * 20)


async def test_the_end_of_a_stream_calls_everybody(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_watch("sink", group="g", uid="a") as a, hub.on_watch("sink", group="g", uid="b") as b:
        look(a, room=0)
        look(b)
        tasks = [waiting(a), waiting(b)]
        await aqueue.run(aqueue.sink.end())
        await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)


async def test_a_reconnect_calls_everybody(own_redis: RedisServer) -> None:
    queue = AsyncQueue(own_redis.url, service="turns")
    hub = EventHub(queue)
    await hub.start()
    await hub.ready()
    try:
        with hub.on_watch("sink", group="g", uid="a") as a, hub.on_watch("sink", group="g", uid="b") as b:
            look(a, room=0)
            look(b)
            tasks = [waiting(a, 60), waiting(b, 60)]
            own_redis.kill()
            own_redis.start()
            await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)
    finally:
        await hub.stop()
        await queue.close()
