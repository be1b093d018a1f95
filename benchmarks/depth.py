"""What a put and a reserve cost while 1,000, 100,000 and 1,000,000 tasks wait, from one user and from many.

Every depth has a Redis of its own, filled through the real scripts; blocks of puts and reserves go round from
one to the next, so that whatever disturbs the machine disturbs them all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import redis

from easel_queue import Call, Kin, Origin, Placed, Queue
from harness import Spread, percentile, private_redis, publish

SERVICE = "bench"
PRIORITIES = 3
MODELS = 4
BYPASS = 8
BLOCK = 100
"""Puts, then as many reserves: the depth stays what it is, also the smallest."""
AT_ONCE = 500
"""Puts in one pipeline while a Redis is filled."""
FILLERS = 2
LEASE_MS = 3_600_000
OPERATIONS = ("put", "reserve")


def put_call(queue: Queue, number: int, users: int) -> Call[Placed]:
    """The put whose cost is measured: users and priorities take turns."""
    return queue.tasks.put(
        b"{}",
        request_id=uuid.uuid4().hex,
        priority=number % PRIORITIES,
        origin=Origin(f"user{number % users}"),
        kin=Kin(models=(f"checkpoint:{number % MODELS}",)),
    )


def fill(url: str, first: int, count: int, users: int) -> None:
    """Put so many tasks, as fast as a pipeline goes."""
    queue = Queue(url, service=SERVICE)
    for start in range(first, first + count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, first + count))
        for placed in queue.run_many([put_call(queue, number, users) for number in numbers]):
            if isinstance(placed, Exception):
                raise placed
    queue.close()


def fill_by_several(url: str, count: int, users: int) -> None:
    """The same by several processes."""
    share = -(-count // FILLERS)
    jobs = [(url, first, min(share, count - first), users) for first in range(0, count, share)]
    with multiprocessing.get_context("spawn").Pool(FILLERS) as pool:
        pool.starmap(fill, jobs)


@dataclass
class Bench:
    """One depth: its Redis, and what was measured there, by operation."""

    url: str
    users: int
    queue: Queue = field(init=False)
    client_us: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    server_us: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.queue = Queue(self.url, service=SERVICE)
        self._redis = redis.Redis.from_url(self.url)

    def reserve(self, model: int) -> Call[Any]:
        """By a worker that has one of the models at hand."""
        return self.queue.tasks.reserve(
            worker="w", lease_ms=LEASE_MS, models=[f"checkpoint:{model}"], bypass=BYPASS
        )

    def block(self) -> None:
        """A block of each operation: its median at the client, and its mean time in the script."""
        calls: dict[str, Iterator[Call[Any]]] = {
            "put": (put_call(self.queue, number, self.users) for number in range(BLOCK)),
            "reserve": (self.reserve(number % MODELS) for number in range(BLOCK)),
        }
        for operation, block in calls.items():
            self._redis.config_resetstat()
            times = []
            for call in block:
                begin = time.perf_counter()
                answer = self.queue.run(call)
                times.append(time.perf_counter() - begin)
                assert answer is not None, "the backlog is empty"
            self.client_us[operation].append(percentile(times, 0.5) * 1e6)
            stats = self._redis.info("commandstats")["cmdstat_evalsha"]
            self.server_us[operation].append(float(stats["usec_per_call"]))

    def close(self) -> None:
        self.queue.close()
        self._redis.close()


def measure(stack: ExitStack, depths: list[int], users: int, rounds: int) -> dict[int, Bench]:
    """Fill one Redis per depth and measure them in turns."""
    benches = {}
    for depth in depths:
        # The disk is left out: what is asked is how the scripts' cost grows.
        url = stack.enter_context(private_redis("no"))
        with redis.Redis.from_url(url) as client:
            client.config_set("auto-aof-rewrite-percentage", 0)  # its fork would fall into a measurement
        begin = time.perf_counter()
        fill_by_several(url, depth, users)
        print(f"{users} users, {depth} tasks: filled in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        benches[depth] = stack.enter_context(closing(Bench(url, users)))
    for bench in benches.values():
        bench.block()  # connections, scripts
        bench.client_us.clear()
        bench.server_us.clear()
    for _ in range(rounds):
        for bench in benches.values():
            bench.block()
    return benches


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--depths", default="1000,100000,1000000")
    options.add_argument("--users", default="1,10000", help="numbers of users, each a run of its own")
    options.add_argument(
        "--rounds", type=int, default=20, help=f"blocks of {BLOCK} puts and {BLOCK} reserves"
    )
    options.add_argument("--name", default="depth")
    args = options.parse_args()
    depths = [int(depth) for depth in args.depths.split(",")]

    heads = [f"{operation}: {where}" for operation in OPERATIONS for where in ("client, us", "script, us")]
    rows = [["users", "waiting tasks", *heads]]
    growth = [["users", "waiting tasks", *heads]]
    for users in (int(users) for users in args.users.split(",")):
        with ExitStack() as stack:
            benches = measure(stack, depths, users, args.rounds)
        base = benches[depths[0]]
        for depth, bench in benches.items():
            label = [f"{users:,}", f"{depth:,}"]
            both = [
                (values[operation], others[operation])
                for operation in OPERATIONS
                for values, others in ((bench.client_us, base.client_us), (bench.server_us, base.server_us))
            ]
            rows.append([*label, *(Spread.of(values).show(0) for values, _ in both)])
            if bench is not base:
                ratios = ([a / b for a, b in zip(*pair, strict=True)] for pair in both)
                growth.append([*label, *(Spread.of(pair).show() for pair in ratios)])
    notes = NOTES.format(rounds=args.rounds, block=BLOCK, priorities=PRIORITIES).splitlines()
    more = {f"Compared with {depths[0]:,} waiting tasks": growth}
    publish(args.name, "A put and a reserve while many tasks wait", rows, notes, more)


NOTES = """\
Median (minimum to maximum) of {rounds} alternating rounds of {block} puts and {block} reserves each; in the
second table of the rounds' ratios. Small bodies, {priorities} priorities, no fsync.

- Client: the median time of a call, in one thread on the same machine. Script: the server's own mean time of
  it (commandstats of EVALSHA).
- It does not show: the disk, several clients, large bodies, full queues that evict."""


if __name__ == "__main__":
    main()
