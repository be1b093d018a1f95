"""Watchers by the hundred in one event loop, and a worker that answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable

from websockets.asyncio.client import ClientConnection, connect

from easel_queue import AsyncQueue, EventHub

WAIT_S = 60.0
JOINING = 50
"""Watchers that connect at the same time."""


def allow_files(count: int) -> None:
    """Let this process open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count)), hard))


class Crowd:
    """Watchers in groups; what each group got, by index."""

    def __init__(self) -> None:
        self.got: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.shares: Counter[str] = Counter()
        self._sockets: list[ClientConnection] = []
        self._readers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def join(self, url: str, path: str, *, groups: int, each: int, **query: str) -> None:
        """`each` watchers in each of `groups` groups; comes back when all are connected."""
        names = [(f"group{group}", f"uid{number}") for number in range(each) for group in range(groups)]
        for start in range(0, len(names), JOINING):
            batch = names[start : start + JOINING]
            await asyncio.gather(*(self.watch(url, path, group, uid, query) for group, uid in batch))

    async def watch(self, url: str, path: str, group: str, uid: str, query: dict[str, str]) -> None:
        """One more."""
        headers = {"X-EAS-QueueService-Redis-Uid": uid, "X-EAS-QueueService-Redis-Gid": group}
        parameters = "&".join(f"{name}={value}" for name, value in {"_watch_": "true", **query}.items())
        socket = await connect(
            f"{url.replace('http:', 'ws:')}{path}?{parameters}",
            additional_headers=headers,
            compression=None,
            ping_interval=None,
            open_timeout=WAIT_S,
        )
        self._sockets.append(socket)
        self._readers.append(asyncio.create_task(self._read(socket, group, uid)))

    async def _read(self, socket: ClientConnection, group: str, uid: str) -> None:
        async for message in socket:
            self.got[group][json.loads(message)["index"]] += 1
            self.shares[f"{group}.{uid}"] += 1
            self._changed.set()

    async def wait_for(self, deliveries: int) -> None:
        """Come back when so many frames came, all groups together."""
        await self.wait_until(lambda: sum(sum(got.values()) for got in self.got.values()) >= deliveries)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Come back when it holds; frames may change it."""
        while not condition():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), WAIT_S)

    async def close(self) -> None:
        await asyncio.gather(*(socket.close() for socket in self._sockets))
        await asyncio.gather(*self._readers)


@contextlib.asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """An empty one; its watchers leave at the end."""
    made = Crowd()
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def answering_worker(redis_url: str, service: str) -> AsyncIterator[AsyncQueue]:
    """Takes every task and answers with its own body, through the queue library alone."""
    queue = AsyncQueue(redis_url, service=service)
    hub = EventHub(queue)
    await hub.start()
    await hub.ready()
    tasks = queue.tasks

    async def work() -> None:
        with hub.on_queue("in") as signal:
            while True:
                task = await queue.run(tasks.reserve(worker="load", lease_ms=60_000))
                if task is None:
                    await signal.wait(1.0)
                    continue
                await queue.run(tasks.start(task, lease_ms=60_000))
                await queue.run(tasks.finish(task, task.data))

    working = asyncio.create_task(work())
    try:
        yield queue
    finally:
        while not working.done():
            working.cancel()
            await asyncio.wait({working}, timeout=0.1)
        await hub.stop()
        await queue.close()
