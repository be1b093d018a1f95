"""What Redis said yes to survives `kill -9` of Redis; calls in flight are repeated where that is safe."""

from __future__ import annotations

import threading

import pytest

from easel_queue import Queue, QueueUnavailableError

from ..conftest import RedisServer


def test_nothing_accepted_is_lost_when_redis_is_killed(own_redis: RedisServer) -> None:
    queue = Queue(own_redis.url, service="durable")
    accepted: list[str] = []
    begun = threading.Event()

    def put_many() -> None:
        for number in range(100_000):
            rid = f"r{number}"
            try:
                queue.run(queue.tasks.put(b"x" * 200, request_id=rid))
            except QueueUnavailableError:
                return
            accepted.append(rid)
            if number == 200:
                begun.set()

    putter = threading.Thread(target=put_many)
    putter.start()
    assert begun.wait(60)
    own_redis.kill()
    putter.join(60)
    assert not putter.is_alive()
    own_redis.start()
    stored = {rid for rid in accepted if queue.run(queue.tasks.status(rid)) is not None}
    assert stored == set(accepted)
    queue.close()


def test_a_repeatable_call_rides_through_a_restart(own_redis: RedisServer) -> None:
    queue = Queue(own_redis.url, service="restart")
    queue.run(queue.tasks.put(b"x", request_id="r1"))
    own_redis.kill()
    restart = threading.Timer(0.2, own_redis.start)
    restart.start()
    status = queue.run(queue.tasks.status("r1"))
    restart.join()
    assert status is not None
    assert status.index == 1
    queue.close()


def test_an_absent_redis_is_a_typed_error(own_redis: RedisServer) -> None:
    queue = Queue(own_redis.url, service="absent")
    own_redis.kill()
    with pytest.raises(QueueUnavailableError):
        queue.run(queue.tasks.reserve(worker="w", lease_ms=1))
    with pytest.raises(QueueUnavailableError):
        queue.ping()
    queue.close()
