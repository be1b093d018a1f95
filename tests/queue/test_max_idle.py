"""A delivery may take so long and no longer, however alive its worker is."""

from __future__ import annotations

import pytest

from easel_queue import LeaseLostError, Queue, Reaped, State, Task

from .conftest import Bench, Clock

MAX_IDLE_MS = 60_000


def reap(queue: Queue, *, max_delivery: int = 3, max_idle_ms: int = MAX_IDLE_MS) -> Reaped:
    return queue.run(queue.tasks.reap(reaper="r", max_delivery=max_delivery, max_idle_ms=max_idle_ms))


def work(queue: Queue, clock: Clock, task: Task, seconds: int) -> None:
    """A worker that keeps its lease."""
    for _ in range(seconds):
        clock.advance(1)
        queue.run(queue.tasks.extend(task, lease_ms=10_000))


def test_a_delivery_that_takes_too_long_is_taken_away(bench: Bench, queue: Queue, clock: Clock) -> None:
    placed = bench.put()
    slow = bench.begin("w1")
    work(queue, clock, slow, 59)
    assert reap(queue).requeued == 0
    work(queue, clock, slow, 1)
    assert reap(queue).requeued == 1
    assert queue.wait_inbox("w1", 1) == f"drop {slow.token}"
    with pytest.raises(LeaseLostError):
        bench.finish(slow)
    again = bench.begin("w2")
    assert (again.index, again.deliveries) == (placed.index, 1), "it counts as a delivery"
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert status.errors == ("delivery 1 on w1: not done after 60 s (max_idle)",)
    assert reap(queue).requeued == 0, "each delivery has its own time"


def test_the_last_delivery_that_takes_too_long_is_given_up(bench: Bench, queue: Queue, clock: Clock) -> None:
    placed = bench.put()
    work(queue, clock, bench.begin(), 61)
    (task,) = reap(queue, max_delivery=1).exhausted
    assert "max_idle" in task.last_error
    work(queue, clock, task, 61)
    assert reap(queue, max_delivery=1) == Reaped(0, 0, ()), "the reaper's own lease is no delivery"
    assert queue.run(queue.tasks.fail(task, error="", data=b"late", max_delivery=1)).dead
    assert bench.results() == [(placed.request_id, b"late")]
    assert queue._redis.zcard(queue.keys.of("in", "started")) == 0


def test_a_cancelled_one_ends_as_cancelled(bench: Bench, queue: Queue, clock: Clock) -> None:
    placed = bench.put()
    work(queue, clock, bench.begin(), 61)
    queue.run(queue.tasks.cancel(request_id=placed.request_id, data=b"cancelled"))
    assert reap(queue).cancelled == 1
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert status.state is State.CANCELLED


def test_without_a_limit_and_before_the_start_there_is_all_the_time(
    bench: Bench, queue: Queue, clock: Clock
) -> None:
    bench.put()
    bench.put()
    prefetched = bench.take()
    running = bench.begin()
    for _ in range(61):
        work(queue, clock, prefetched, 1)
        queue.run(queue.tasks.extend(running, lease_ms=10_000))
    assert reap(queue, max_idle_ms=0).requeued == 0
    assert reap(queue).requeued == 1
    assert queue.run(queue.tasks.start(prefetched, lease_ms=10_000)) == 1


def test_an_expired_and_overdue_delivery_is_taken_away_once(bench: Bench, queue: Queue, clock: Clock) -> None:
    bench.put()
    bench.begin()
    clock.advance(100)
    assert reap(queue).requeued == 1
    assert bench.waiting() == 1
