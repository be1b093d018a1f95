"""Several calls in one round trip: each has its own answer, its own error, and its own second try."""

from __future__ import annotations

import threading

import pytest

from easel_queue import AsyncQueue, LeaseLostError, Queue, QueueUnavailableError

from ..conftest import RedisServer
from .conftest import Bench, Clock


def test_the_answers_come_in_the_order_of_the_calls(queue: Queue) -> None:
    names = [f"r{number}" for number in range(50)]
    placed = queue.run_many([queue.tasks.put(b"x", request_id=name) for name in names])
    assert [answer.index for answer in placed if not isinstance(answer, Exception)] == list(range(1, 51))
    assert queue.run_many([]) == []


def test_none_is_an_answer_too(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = queue.tasks.reserve(worker="w", lease_ms=1000)
    assert queue.run(reserve) is None
    monkeypatch.setattr(queue, "run", lambda call: pytest.fail("it was sent again"))
    assert queue.run_many([reserve, reserve]) == [None, None]


def test_an_error_stands_in_its_place_and_stops_nothing(bench: Bench) -> None:
    queue = bench.queue
    bench.put()
    bench.put()
    task = bench.begin()
    lost = bench.begin()
    queue.run(queue.tasks.release(lost))
    calls = [queue.tasks.finish(lost, b"late"), queue.tasks.finish(task, b"result")]
    late, finished = queue.run_many(calls)
    assert isinstance(late, LeaseLostError)
    assert not isinstance(finished, Exception)
    assert bench.results() == [("rid-1", b"result")]


def test_a_server_that_forgot_the_scripts_learns_them(queue: Queue) -> None:
    queue.run(queue.tasks.put(b"x", request_id="r0"))
    queue._redis.script_flush()
    answers = queue.run_many(
        [queue.tasks.put(b"x", request_id="r1"), queue.tasks.reserve(worker="w", lease_ms=1000)]
    )
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert queue.run(queue.source.attributes()).waiting == 1


def test_what_may_be_repeated_rides_through_a_restart(own_redis: RedisServer) -> None:
    queue = Queue(own_redis.url, service="restart")
    queue.run(queue.tasks.put(b"x", request_id="r0"))
    own_redis.kill()
    restart = threading.Timer(0.2, own_redis.start)
    restart.start()
    first, taken, second = queue.run_many(
        [
            queue.tasks.put(b"x", request_id="r1"),
            queue.tasks.reserve(worker="w", lease_ms=1000),
            queue.tasks.put(b"x", request_id="r2"),
        ]
    )
    restart.join()
    assert isinstance(taken, QueueUnavailableError)
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert queue.run(queue.source.attributes()).waiting == 3
    queue.close()


def test_an_absent_redis_is_waited_for_once(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(own_redis.url, service="absent")
    own_redis.kill()
    pauses: list[float] = []
    monkeypatch.setattr("easel_queue.client.time.sleep", pauses.append)
    answers = queue.run_many([queue.tasks.status(f"r{number}") for number in range(20)])
    assert all(isinstance(answer, QueueUnavailableError) for answer in answers)
    assert len(pauses) == 5
    queue.close()


async def test_an_event_loop_has_the_same(redis_url: str, service: str, clock: Clock) -> None:
    queue = AsyncQueue(redis_url, service=service, clock=clock)
    placed = await queue.run_many([queue.tasks.put(b"x", request_id=f"r{number}") for number in range(20)])
    assert [answer.index for answer in placed if not isinstance(answer, Exception)] == list(range(1, 21))
    await queue._redis.script_flush()
    (taken,) = await queue.run_many([queue.tasks.reserve(worker="w", lease_ms=1000)])
    assert taken is not None
    assert not isinstance(taken, Exception)
    await queue.run(queue.tasks.release(taken))
    (late,) = await queue.run_many([queue.tasks.finish(taken, b"late")])
    assert isinstance(late, LeaseLostError)
    await queue.close()
