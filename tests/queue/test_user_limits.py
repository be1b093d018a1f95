"""What one user may put: so many waiting tasks, so many in a minute. A refused put stores nothing."""

from __future__ import annotations

import pytest

from easel_queue import Eviction, Once, Origin, Queue, TooFastError, UserFullError

from .conftest import Bench, Clock


def put(queue: Queue, rid: str, user: str = "a", **limits: int) -> int:
    call = queue.tasks.put(b"x", request_id=rid, origin=Origin(user, **limits))
    return queue.run(call).index


def test_a_user_may_have_so_many_waiting_tasks(queue: Queue, bench: Bench) -> None:
    for rid in ("r1", "r2"):
        put(queue, rid, max_waiting=2)
    with pytest.raises(UserFullError):
        put(queue, "r3", max_waiting=2)
    put(queue, "r4", "b", max_waiting=2)
    assert bench.waiting() == 3
    bench.take()
    put(queue, "r3", max_waiting=2)


def test_a_repeated_put_is_no_new_one(queue: Queue) -> None:
    once = Once("a", "key", "print")
    call = queue.tasks.put(b"x", request_id="r1", once=once, origin=Origin("a", max_waiting=1, per_minute=1))
    assert queue.run(call).index == queue.run(call).index
    again = queue.tasks.put(b"x", request_id="r2", once=once, origin=Origin("a", max_waiting=1, per_minute=1))
    assert queue.run(again).repeated


def test_a_full_user_evicts_nobody(queue: Queue, bench: Bench) -> None:
    put(queue, "r1", max_waiting=1)
    origin = Origin("a", max_waiting=1)
    call = queue.tasks.put(b"x", request_id="r2", max_length=1, evict=Eviction(b""), origin=origin)
    with pytest.raises(UserFullError):
        queue.run(call)
    assert bench.waiting() == 1


def test_a_user_may_put_so_many_tasks_within_any_minute(queue: Queue, clock: Clock) -> None:
    put(queue, "r1", per_minute=2)
    clock.advance(40)
    put(queue, "r2", per_minute=2)
    with pytest.raises(TooFastError) as refused:
        put(queue, "r3", per_minute=2)
    assert refused.value.retry_s == 20
    put(queue, "r4", "b", per_minute=2)
    clock.advance(19.9)
    with pytest.raises(TooFastError):
        put(queue, "r3", per_minute=2)
    clock.advance(0.1)
    put(queue, "r3", per_minute=2)
    with pytest.raises(TooFastError) as refused:
        put(queue, "r5", per_minute=2)
    assert refused.value.retry_s == 40


def test_a_lowered_rate_waits_for_as_many_as_it_takes(queue: Queue, clock: Clock) -> None:
    for number in range(4):
        put(queue, f"r{number}", per_minute=9)
        clock.advance(10)
    with pytest.raises(TooFastError) as refused:
        put(queue, "r9", per_minute=2)
    assert refused.value.retry_s == 40, "when the third of the four is a minute old"
