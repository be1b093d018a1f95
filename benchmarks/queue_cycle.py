"""Easel's queue beside RQ: no-op tasks through one producer and one worker process, same Redis, same run.

What Easel does per task: put, reserve, start, finish (which removes the task and appends the result in one
step), deliver to a watcher, commit. What RQ does: enqueue, run in a SimpleWorker, store the result, read it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Protocol

import redis
from rq import Queue as RqQueue
from rq import SimpleWorker

from easel_queue import Queue
from harness import Spread, percentile, private_redis, publish
from noop_jobs import nothing

LEASE_MS = 30_000


class System(Protocol):
    """One of the two: how to run many at once, and one after the other."""

    name: str

    def worker(self) -> Callable[[str, Event, Event], None]: ...
    def burst(self, url: str, count: int) -> float: ...
    def single(self, url: str, count: int) -> list[float]: ...


def easel_worker(url: str, ready: Event, stop: Event) -> None:
    """Takes tasks and answers their body, until told to stop."""
    queue = Queue(url, service="bench")
    ready.set()
    while not stop.is_set():
        task = queue.run(queue.tasks.reserve(worker="w", lease_ms=LEASE_MS))
        if task is None:
            queue.wait_bell(0.2)
            continue
        queue.run(queue.tasks.start(task, lease_ms=LEASE_MS))
        queue.run(queue.tasks.finish(task, task.data))
    queue.close()


class Easel:
    name = "Easel"

    def worker(self) -> Callable[[str, Event, Event], None]:
        return easel_worker

    def __init__(self) -> None:
        self._made = 0

    def _put(self, queue: Queue) -> None:
        self._made += 1
        queue.run(queue.tasks.put(b"{}", request_id=f"{time.time_ns()}-{self._made}"))

    def _watch(self, queue: Queue, uid: str) -> Callable[[int], list[int]]:
        queue.run(queue.sink.join(group="eas", uid=uid, connection=uid, window=100, ttl_ms=60_000))

        def deliver(limit: int) -> list[int]:
            entries = queue.run(queue.sink.deliver(group="eas", uid=uid, connection=uid, limit=limit))
            return [entry.index for entry in entries]

        return deliver

    def burst(self, url: str, count: int) -> float:
        queue = Queue(url, service="bench")
        uid = f"u{time.time_ns()}"
        deliver = self._watch(queue, uid)
        begin = time.perf_counter()
        for _ in range(count):
            self._put(queue)
        done = 0
        with queue._redis.pubsub() as events:  # the wake-up that the gateway's event hub uses
            events.subscribe(queue.keys.events)
            while done < count:
                indexes = deliver(100)
                if indexes:
                    done += queue.run(queue.sink.commit(indexes, group="eas"))
                else:
                    events.get_message(timeout=0.05)
        took = time.perf_counter() - begin
        queue.run(queue.sink.leave(group="eas", uid=uid, connection=uid))
        queue.close()
        return took

    def single(self, url: str, count: int) -> list[float]:
        queue = Queue(url, service="bench")
        uid = f"u{time.time_ns()}"
        deliver = self._watch(queue, uid)
        times = []
        with queue._redis.pubsub(ignore_subscribe_messages=True) as events:
            events.subscribe(queue.keys.events)
            for _ in range(count):
                begin = time.perf_counter()
                self._put(queue)
                while not (indexes := deliver(1)):
                    events.get_message(timeout=0.05)
                queue.run(queue.sink.commit(indexes, group="eas"))
                times.append(time.perf_counter() - begin)
                while events.get_message(timeout=0):
                    pass  # events of the task that is done
        queue.run(queue.sink.leave(group="eas", uid=uid, connection=uid))
        queue.close()
        return times


def rq_worker(url: str, ready: Event, stop: Event) -> None:
    """RQ's worker without fork, its fastest form; killed at the end, as it has no stop event."""
    connection = redis.Redis.from_url(url)
    worker = SimpleWorker([RqQueue("bench", connection=connection)], connection=connection)
    ready.set()
    worker.work(logging_level="ERROR", with_scheduler=False)


class Rq:
    name = "RQ"

    def worker(self) -> Callable[[str, Event, Event], None]:
        return rq_worker

    def burst(self, url: str, count: int) -> float:
        connection = redis.Redis.from_url(url)
        queue = RqQueue("bench", connection=connection)
        begin = time.perf_counter()
        jobs = [queue.enqueue(nothing, result_ttl=60) for _ in range(count)]
        for job in jobs:
            assert job.latest_result(timeout=60)
        took = time.perf_counter() - begin
        connection.close()
        return took

    def single(self, url: str, count: int) -> list[float]:
        connection = redis.Redis.from_url(url)
        queue = RqQueue("bench", connection=connection)
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            assert queue.enqueue(nothing, result_ttl=60).latest_result(timeout=60)
            times.append(time.perf_counter() - begin)
        connection.close()
        return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=1000, help="tasks per burst")
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()

    systems: tuple[System, ...] = (Easel(), Rq())
    rates: dict[str, list[float]] = {system.name: [] for system in systems}
    p50: dict[str, list[float]] = {system.name: [] for system in systems}
    p99: dict[str, list[float]] = {system.name: [] for system in systems}
    spawn = multiprocessing.get_context("spawn")
    with private_redis() as url:
        for number in range(args.rounds + 1):
            for system in systems:
                ready, stop = spawn.Event(), spawn.Event()
                process = spawn.Process(target=system.worker(), args=(url, ready, stop), daemon=True)
                process.start()
                ready.wait(60)
                took = system.burst(url, args.tasks)
                times = system.single(url, max(100, args.tasks // 4))
                stop.set()
                process.join(1)
                process.kill()
                process.join()
                if number:  # round 0 warms up
                    rates[system.name].append(args.tasks / took)
                    p50[system.name].append(percentile(times, 0.5) * 1000)
                    p99[system.name].append(percentile(times, 0.99) * 1000)

    rows = [["", "full cycles per second", "latency p50, ms", "latency p99, ms"]]
    for system in systems:
        name = system.name
        rows.append(
            [name, Spread.of(rates[name]).show(0), Spread.of(p50[name]).show(), Spread.of(p99[name]).show()]
        )

    def ratio(values: dict[str, list[float]]) -> str:
        return Spread.of([a / b for a, b in zip(values["Easel"], values["RQ"], strict=True)]).show()

    rows.append(["Easel / RQ", ratio(rates), ratio(p50), ratio(p99)])
    setting = (
        f"Median (minimum to maximum) of {args.rounds} alternating rounds; {args.tasks} no-op tasks a round "
        "for the rate, one at a time for the latency. One producer and one worker process; append-only "
        "file with fsync before every answer, for both."
    )
    limits = "It does not show: many workers, large bodies, a deep backlog, a network between the parts."
    publish("queue_cycle", "One task through the queue, Easel beside RQ", rows, [setting, limits])


if __name__ == "__main__":
    main()
