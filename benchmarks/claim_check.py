"""Where a body should lie: in Redis or in the store, by its size. It chose EASEL_QUEUE_CLAIM_BYTES' default.

One task at a time through queue and store, without HTTP: put, reserve and fetch, start, finish with a result
of the same size, read it and remove it. The claimed round also deletes both files. Redis is private and syncs
before every answer; files are synced too.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
import uuid
from pathlib import Path

from easel_claims import Claims, Depot
from easel_queue import Call, Entry, Queue
from easel_store import LocalStore
from harness import Spread, private_redis, publish

SIZES_KIB = (16, 64, 256, 1024, 4096, 16384)


class PlainQueue:
    """The queue without a worker's patience."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def run(self, call: Call[object]) -> object:
        return self.queue.run(call)

    attempt = run


class Side:
    """One way of storing bodies."""

    def __init__(self, queue: Queue, folder: Path, *, claims: bool) -> None:
        self.queue = queue
        self.depot = Depot(LocalStore(folder), service="bench", threshold=1 if claims else 0)
        self.claims = Claims(self.depot, queue.claims, PlainQueue(queue))

    def cycle(self, body: bytes) -> float:
        """Milliseconds of one task, from its put to the end of its result."""
        tasks, sink = self.queue.tasks, self.queue.sink
        begin = time.perf_counter()
        rid = uuid.uuid4().hex
        self.claims.run(body, lambda data: tasks.put(data, request_id=rid))
        task = self.queue.run(tasks.reserve(worker="w", lease_ms=30_000))
        assert task is not None
        assert self.claims.whole(task).data == body
        self.queue.run(tasks.start(task, lease_ms=30_000))
        self.claims.run(body, lambda data: tasks.finish(task, data))
        (entry,) = self.queue.run(sink.get(request_id=rid, remove=True)).entries
        assert self._body(entry) == body
        if entry.claim:
            self.queue.run(sink.get(start=entry.index, remove=True, fetched=True))
            names = self.queue.run(self.queue.claims.sweep(grace_ms=0))
            for name in names:
                self.depot.delete(name)
            self.queue.run(self.queue.claims.forget(names))
        return (time.perf_counter() - begin) * 1000

    def _body(self, entry: Entry) -> bytes:
        return self.depot.fetch(entry.claim) if entry.claim else entry.data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    rows = [("size, KiB", "in Redis, ms", "in the store, ms", "store / Redis")]
    for size in SIZES_KIB:
        # A server of its own for each size: rewriting a long append-only file would disturb the next.
        with private_redis() as url, tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
            inline = Side(Queue(url, service="inline"), Path(folder), claims=False)
            claimed = Side(Queue(url, service="claimed"), Path(folder), claims=True)
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds + 1):
                body = secrets.token_bytes(size * 1024)
                pair = (inline.cycle(body), claimed.cycle(body))
                if number:  # the first one loads scripts and opens connections
                    times[0].append(pair[0])
                    times[1].append(pair[1])
            ratio = Spread.of([b / a for a, b in zip(*times, strict=True)])
            rows.append((str(size), Spread.of(times[0]).show(), Spread.of(times[1]).show(), ratio.show()))
    publish(
        "claim_check",
        "A task with a large body and a result of the same size",
        rows,
        [
            f"Median (minimum to maximum) of {rounds} tasks, one at a time, the two ways in turn.",
            "Redis and the directory are on the same disk, and both sync before they answer.",
            "It does not show: what large bodies do to others on Redis and to its memory, a slow share, S3.",
        ],
    )


if __name__ == "__main__":
    main()
