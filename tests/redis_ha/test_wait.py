"""With EASEL_REDIS_WAIT_REPLICAS a yes means that a replica has it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from easel_gateway.errors import answer
from easel_queue import AsyncQueue, NotReplicatedError, Placed, Queue, QueueFullError, Status

from .servers import Watched, watched


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    # One sentinel, which takes a replica that is stopped for a moment for dead; that changes nothing here.
    folder: Path = tmp_path_factory.mktemp("wait")
    with watched(folder, sentinels=1) as setup:
        yield setup


@pytest.fixture
def deaf(replicated: Watched) -> Iterator[None]:
    """The replica does not read what it is sent."""
    (replica,) = replicated.replicas()
    replica.signal(signal.SIGSTOP)
    yield
    replica.signal(signal.SIGCONT)
    replicated.wait_replicating()


def test_a_yes_is_a_replica_s(replicated: Watched, service: str) -> None:
    queue = Queue(replicated.url, service=service, wait_replicas=1)
    placed = queue.run(queue.tasks.put(b"x", request_id="r1"))
    (replica,) = replicated.replicas()
    with replica.client() as client:
        assert client.hget(queue.keys.of("in", "rid"), "r1") == str(placed.index).encode()
    with pytest.raises(QueueFullError):
        queue.run(queue.tasks.put(b"x", request_id="r2", max_length=1))
    queue.close()


def test_calls_that_share_a_round_trip_share_the_wait(replicated: Watched, service: str) -> None:
    queue = Queue(replicated.url, service=service, wait_replicas=1)
    puts = [queue.tasks.put(b"x", request_id=f"r{number}") for number in range(3)]
    assert all(isinstance(placed, Placed) for placed in queue.run_many(puts))
    (replica,) = replicated.replicas()
    with replica.client() as client:
        assert client.hlen(queue.keys.of("in", "rid")) == 3
    queue.close()


@pytest.mark.parametrize("known", [True, False], ids=["known scripts", "unknown scripts"])
@pytest.mark.usefixtures("deaf")
async def test_of_several_only_the_durable_ones_need_the_replica(
    replicated: Watched, service: str, known: bool
) -> None:
    queue = Queue(replicated.url, service=service, wait_replicas=1, wait_ms=50)
    if not known:
        queue._redis.script_flush()
    put, look = queue.tasks.put(b"x", request_id="r1"), queue.tasks.status("r1")
    refused, status = queue.run_many([put, look])
    assert isinstance(refused, NotReplicatedError)
    assert isinstance(status, Status)
    if not known:
        queue._redis.script_flush()
    queue.close()
    aqueue = AsyncQueue(replicated.url, service=service, wait_replicas=1, wait_ms=50)
    refused, status = await aqueue.run_many([put, look])
    assert isinstance(refused, NotReplicatedError)
    assert isinstance(status, Status)
    await aqueue.close()


@pytest.mark.usefixtures("deaf")
def test_without_the_replica_it_is_done_but_not_confirmed(replicated: Watched, service: str) -> None:
    queue = Queue(replicated.url, service=service, wait_replicas=1, wait_ms=50)
    put = queue.tasks.put(b"x", request_id="r1")
    with pytest.raises(NotReplicatedError, match="0 of 1 replicas"):
        queue.run(put)
    assert queue.run(queue.source.count()) == 1
    # A repetition writes nothing, comes on a connection that never wrote, and must not be a yes either.
    other = Queue(replicated.url, service=service, wait_replicas=1, wait_ms=50)
    with pytest.raises(NotReplicatedError):
        other.run(put)
    for read_only in (queue.tasks.status("r1"), queue.source.attributes()):
        queue.run(read_only)
    task = queue.run(queue.tasks.reserve(worker="w", lease_ms=60_000))
    assert task is not None
    for call in (queue.tasks.start(task, lease_ms=60_000), queue.tasks.finish(task, b"y")):
        with pytest.raises(NotReplicatedError):
            queue.run(call)
    with pytest.raises(NotReplicatedError):
        queue.run(queue.sink.commit([1], group="g"))
    queue.close()
    other.close()


def test_the_gateway_says_so_and_when_to_come_back() -> None:
    response = answer(NotReplicatedError("put_task: 0 of 1 replicas have it after 50 ms"))
    assert response is not None
    assert response.status_code == 503
    assert response.headers["Retry-After"].isdigit()
    assert json.loads(response.body)["error"] == "NotReplicatedError"


async def test_repeated_when_the_replica_is_back_it_is_the_same_yes(
    replicated: Watched, service: str, request: pytest.FixtureRequest
) -> None:
    (replica,) = replicated.replicas()
    queue = AsyncQueue(replicated.url, service=service, wait_replicas=1, wait_ms=50)
    put = queue.tasks.put(b"x", request_id="r1")
    replica.signal(signal.SIGSTOP)
    try:
        with pytest.raises(NotReplicatedError):
            await queue.run(put)
    finally:
        replica.signal(signal.SIGCONT)
    replicated.wait_replicating()
    patient = AsyncQueue(replicated.url, service=service, wait_replicas=1, wait_ms=5000)
    assert (await patient.run(put)).index == 1
    assert await patient.run(patient.source.count()) == 1
    await queue.close()
    await patient.close()
