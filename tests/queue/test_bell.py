"""A call that waits for the bell and is sent in the same round trip: how an idle worker reserves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from easel_queue import LeaseLostError, Queue, QueueUnavailableError, State, Task
from easel_queue.call import Call

from ..conftest import RedisServer
from .conftest import Bench


@pytest.fixture
def waiter(redis_url: str, service: str, bench: Bench) -> Iterator[Queue]:
    """A worker's client; its connections bear the service's name."""
    client = Queue(f"{redis_url}?client_name={service}", service=service, clock=bench.clock)
    yield client
    client.close()


def reserve(bench: Bench, **how: bool) -> Call[Task | None]:
    return bench.queue.tasks.reserve(worker="w", lease_ms=bench.lease_ms, begin=how.get("begin", False))


def await_blocked(redis_url: str, name: str) -> None:
    """Come back when a connection of that name waits in Redis."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for _ in range(1000):
            if any(one["name"] == name and "b" in one["flags"] for one in client.client_list()):
                return
            time.sleep(0.005)
    raise AssertionError("nobody waits")


def test_who_waits_has_the_task_before_its_put_is_answered(
    bench: Bench, waiter: Queue, redis_url: str, service: str
) -> None:
    assert waiter.run(reserve(bench)) is None  # Redis knows the script from now on
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.run_at_bell, reserve(bench, begin=True), 5)
        await_blocked(redis_url, service)
        placed = bench.put()
        status = bench.queue.run(bench.queue.tasks.status(placed.request_id))
        task = waiting.result(10)
    assert status is not None
    assert (status.state, status.worker, status.deliveries) == (State.RUNNING, "w", 1)
    assert task is not None
    assert task.index == placed.index
    assert bench.finish(task)


def test_it_is_sent_as_well_when_the_bell_stays_silent(bench: Bench, queue: Queue) -> None:
    bench.put()
    assert queue.wait_bell(1.0)  # somebody else was woken, and did not come
    assert queue.run_at_bell(reserve(bench), 0.01) is not None
    assert queue.run_at_bell(reserve(bench), 0.01) is None


def test_a_refusal_is_raised(bench: Bench, queue: Queue) -> None:
    bench.put()
    task = bench.begin()
    bench.clock.advance(60)
    queue.run(queue.tasks.reap(reaper="r", max_delivery=3))
    with pytest.raises(LeaseLostError):
        queue.run_at_bell(queue.tasks.finish(task, b"late"), 0.01)


def test_a_server_that_forgot_the_script_learns_it(bench: Bench, queue: Queue) -> None:
    bench.put()
    queue._redis.script_flush()
    assert queue.run_at_bell(reserve(bench), 1.0) is not None


def test_a_worker_that_is_gone_takes_nothing_along(
    bench: Bench, waiter: Queue, redis_url: str, service: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.run_at_bell, reserve(bench, begin=True), 5)
        await_blocked(redis_url, service)
        waiter._redis.connection_pool.disconnect()  # as when its process is killed
        with pytest.raises(QueueUnavailableError):
            waiting.result(10)
    bench.put()
    assert bench.take().deliveries == 0


def test_a_replica_is_left(own_redis: RedisServer) -> None:
    queue = Queue(own_redis.url, service="s")
    assert queue.run(queue.source.count()) == 0
    ((idle, _),) = queue._exchange._kept
    with redis.Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(QueueUnavailableError, match="ReadOnly"):
            queue.run_at_bell(queue.tasks.reserve(worker="w", lease_ms=1000), 0.01)
    assert not idle.is_connected
    queue.close()
