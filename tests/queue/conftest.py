"""A queue on the test run's Redis whose clock the test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from easel_queue import AsyncQueue, EventHub, Placed, Queue, Reply, Task

START_MS = 1_700_000_000_000


@dataclass
class Clock:
    """Milliseconds; moves only when a test says so."""

    now: int = START_MS

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


class Bench:
    """Short words for what most tests do: put, take, begin."""

    lease_ms = 10_000

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self.queue = queue
        self.clock = clock
        self._made = 0

    def put(
        self, data: bytes = b"body", *, priority: int = 0, reply: Reply = Reply.SINK, **tags: str
    ) -> Placed:
        self._made += 1
        call = self.queue.tasks.put(
            data,
            request_id=f"rid-{self._made}",
            tags=tags,
            priority=priority,
            reply=reply,
            meta={"path": "/p"},
        )
        return self.queue.run(call)

    def take(self, worker: str = "w1") -> Task:
        task = self.queue.run(self.queue.tasks.reserve(worker=worker, lease_ms=self.lease_ms))
        assert task is not None, "no task waits"
        return task

    def begin(self, worker: str = "w1") -> Task:
        task = self.take(worker)
        self.queue.run(self.queue.tasks.start(task, lease_ms=self.lease_ms))
        return task

    def finish(self, task: Task, data: bytes = b"result") -> int:
        return self.queue.run(self.queue.tasks.finish(task, data)).sink_index

    def results(self) -> list[tuple[str, bytes]]:
        """Request id and body of everything in the sink, oldest first."""
        page = self.queue.run(self.queue.sink.get(limit=1000))
        return [(entry.request_id, entry.data) for entry in page.entries]

    def waiting(self) -> int:
        return self.queue.run(self.queue.source.attributes()).waiting


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(redis_url: str, service: str, clock: Clock) -> Iterator[Queue]:
    client = Queue(redis_url, service=service, clock=clock)
    yield client
    client.close()


@pytest.fixture
async def aqueue(redis_url: str, service: str) -> AsyncIterator[AsyncQueue]:
    """The same for an event loop, with the server's own clock."""
    queue = AsyncQueue(redis_url, service=service)
    yield queue
    await queue.close()


@pytest.fixture
async def hub(aqueue: AsyncQueue) -> AsyncIterator[EventHub]:
    hub = EventHub(aqueue)
    await hub.start()
    await hub.ready()
    yield hub
    await hub.stop()


@pytest.fixture
def bench(queue: Queue, clock: Clock) -> Bench:
    return Bench(queue, clock)


@pytest.fixture
def sink(queue: Queue) -> Queue:
    """The same, in tests that are about the sink."""
    return queue
