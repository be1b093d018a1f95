"""What EASEL_REDIS_WAIT_REPLICAS costs: the same calls to the same master and replica, with it and without.

Rounds alternate, so both sides see the same machine. A cycle is put, reserve, start and finish; all but
reserve wait for the replica.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from easel_queue import Queue
from harness import Spread, percentile, publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from redis_ha.servers import watched

LEASE_MS = 60_000
BODY = b"x" * 500


def cycle(queue: Queue, name: str) -> None:
    queue.run(queue.tasks.put(BODY, request_id=name))
    task = queue.run(queue.tasks.reserve(worker=name, lease_ms=LEASE_MS))
    assert task is not None
    queue.run(queue.tasks.start(task, lease_ms=LEASE_MS))
    queue.run(queue.tasks.finish(task, b""))


def put(queue: Queue, name: str) -> None:
    queue.run(queue.tasks.put(BODY, request_id=name))


def rate(url: str, service: str, replicas: int, threads: int, count: int) -> float:
    """Cycles per second of `threads` clients in one process."""
    queue = Queue(url, service=service, wait_replicas=replicas)

    def work(thread: int) -> None:
        for number in range(count // threads):
            cycle(queue, f"{time.time_ns()}-{thread}-{number}")

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - begin
    queue.close()
    return count / elapsed


def latencies(
    url: str, service: str, replicas: int, count: int, call: Callable[[Queue, str], None]
) -> list[float]:
    """Milliseconds of single calls, one after the other."""
    queue = Queue(url, service=service, wait_replicas=replicas)
    queue.ping()
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        call(queue, str(time.time_ns()))
        taken.append((time.perf_counter() - begin) * 1000)
    queue.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=600)
    given = parser.parse_args()
    measures = ("put p50, ms", "put p99, ms", "cycles per second, 1 client", "the same, 8 clients")
    found: dict[int, dict[str, list[float]]] = {n: {name: [] for name in measures} for n in (0, 1)}
    with (
        tempfile.TemporaryDirectory(prefix="easel-bench-") as folder,
        watched(Path(folder), sentinels=1) as setup,
    ):
        latencies(setup.url, "warm", 1, 50, cycle)
        for number in range(given.rounds):
            for replicas in (0, 1) if number % 2 == 0 else (1, 0):
                service = f"bench-{number}-{replicas}"
                puts = latencies(setup.url, f"{service}-put", replicas, given.count, put)
                row = found[replicas]
                row["put p50, ms"].append(percentile(puts, 0.5))
                row["put p99, ms"].append(percentile(puts, 0.99))
                row["cycles per second, 1 client"].append(rate(setup.url, service, replicas, 1, given.count))
                row["the same, 8 clients"].append(rate(setup.url, f"{service}-8", replicas, 8, given.count))
    rows = [["", *measures]]
    for replicas, label in ((0, "no WAIT"), (1, "WAIT for 1 replica")):
        rows.append([label, *(Spread.of(found[replicas][name]).show() for name in measures)])
    ratios = (
        Spread.of(
            [with_it / without for with_it, without in zip(found[1][name], found[0][name], strict=True)]
        )
        for name in measures
    )
    rows.append(["with / without", *(spread.show() for spread in ratios)])
    publish(
        "replication_wait",
        "What waiting for a replica costs",
        rows,
        [
            f"Median (lowest to highest) of {given.rounds} rounds in turns, {given.count} calls each.",
            "Master, replica and client share one machine and loopback, appendfsync everysec. Between",
            "machines, add a round trip to the replica to each of the three calls of a cycle that wait.",
        ],
    )


if __name__ == "__main__":
    main()
