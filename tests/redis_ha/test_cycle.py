"""Everything the queue does works behind Sentinel and on a Redis Cluster."""

from __future__ import annotations

import asyncio
import threading
import uuid

from easel_queue import AsyncQueue, EventHub, Queue


def test_the_life_of_a_task_from_threads(url: str, service: str) -> None:
    queue = Queue(url, service=service)
    rung: list[bool] = []
    waiter = threading.Thread(target=lambda: rung.append(queue.wait_bell(5)))
    waiter.start()
    placed = queue.run(queue.tasks.put(b"body", request_id="r1", tags={"a": "b"}))
    waiter.join(10)
    assert rung == [True]
    task = queue.run(queue.tasks.reserve(worker="w", lease_ms=10_000))
    assert task is not None
    assert (task.index, task.data) == (placed.index, b"body")
    assert queue.run(queue.tasks.start(task, lease_ms=10_000)) == 1
    assert queue.run(queue.tasks.finish(task, b"result")).sink_index == 1
    queue.run(queue.sink.join(group="g", uid="u", connection="c", window=5))
    entries = queue.run(queue.sink.deliver(group="g", uid="u", connection="c", limit=5))
    assert [(entry.request_id, entry.data, entry.tags["a"]) for entry in entries] == [("r1", b"result", "b")]
    assert queue.run(queue.sink.commit([1], group="g")) == 1
    assert queue.run(queue.sink.count()) == 0
    queue.run(queue.tasks.put(b"body", request_id="r2"))
    running = queue.run(queue.tasks.reserve(worker="w", lease_ms=10_000))
    assert running is not None
    queue.run(queue.tasks.start(running, lease_ms=10_000))
    queue.run(queue.tasks.cancel(request_id="r2", data=b""))
    assert queue.wait_inbox("w", 5) == f"cancel {running.index}"
    queue.close()


async def test_the_life_of_a_task_from_an_event_loop(url: str, service: str) -> None:
    queue = AsyncQueue(url, service=service, max_connections=8)
    hub = EventHub(queue)
    await hub.start()
    await hub.ready()
    rid = uuid.uuid4().hex
    with hub.on_task(rid, arrival=True) as events:
        assert await events.next(5) == {"s": "resync"}
        await queue.run(queue.tasks.put(b"body", request_id=rid))
        task = await queue.run(queue.tasks.reserve(worker="w", lease_ms=10_000))
        assert task is not None
        await queue.run(queue.tasks.start(task, lease_ms=10_000))
        await queue.run(queue.tasks.finish(task, b"result"))
        states = []
        while "done" not in states:
            event = await events.next(5)
            assert event is not None, f"no event after {states}"
            states.append(event["s"])
        assert states == ["waiting", "running", "done"]
    # More calls at once than connections: they wait for each other.
    puts = [queue.tasks.put(b"x", request_id=f"{rid}-{number}") for number in range(100)]
    placed = await asyncio.gather(*(queue.run(put) for put in puts))
    assert sorted(item.index for item in placed) == list(range(2, 102))
    await hub.stop()
    await queue.close()
