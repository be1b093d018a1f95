"""What a queue may hold: items, bytes, and what happens when it is full."""

from __future__ import annotations

import pytest

from easel_queue import (
    Eviction,
    Placed,
    Queue,
    QueueFullError,
    Reply,
    SinkFullError,
    State,
    StreamCalls,
    TooLargeError,
)

from .conftest import Bench

GONE = Eviction(b"evicted", {"lastCode": "503"})


def put(queue: Queue, name: str, data: bytes = b"x", **how: object) -> Placed:
    return queue.run(queue.tasks.put(data, request_id=name, **how))  # type: ignore[arg-type]


def counted(queue: Queue, stream: StreamCalls) -> int:
    return queue.run(stream.attributes()).bytes


def waiting(queue: Queue) -> set[str]:
    return {entry.request_id for entry in queue.run(queue.source.get(limit=1000)).entries}


def test_a_full_count_of_bytes_refuses_and_stores_nothing(queue: Queue) -> None:
    size = stored_size(queue)
    put(queue, "a", max_bytes=2 * size)
    put(queue, "b", max_bytes=2 * size)
    with pytest.raises(QueueFullError, match=f"{2 * size} bytes"):
        put(queue, "c", max_bytes=2 * size)
    assert waiting(queue) == {"a", "b"}
    queue.run(queue.source.delete([2]))
    put(queue, "c", max_bytes=2 * size)


def stored_size(queue: Queue) -> int:
    """Bytes of a task of `put`."""
    put(queue, "z")
    size = counted(queue, queue.source)
    queue.run(queue.source.delete([1]))
    return size


def test_what_is_larger_than_the_queue_is_told_so(queue: Queue) -> None:
    put(queue, "small")
    for call in (
        queue.tasks.put(b"x" * 100, request_id="r", max_bytes=99, evict=GONE),
        queue.sink.append(b"x" * 100, request_id="r", max_bytes=99, evict=True),
    ):
        with pytest.raises(TooLargeError):
            queue.run(call)
    assert waiting(queue) == {"small"}, "and nothing was evicted for it"


def test_the_sinks_bytes_stop_workers_and_synchronous_calls(queue: Queue, bench: Bench) -> None:
    bench.put()
    queue.run(queue.sink.append(b"x" * 100, request_id="s1"))
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000, sink_max_bytes=100)) is None
    with pytest.raises(SinkFullError):
        put(queue, "sync", reply=Reply.DIRECT, sink_max_bytes=100)
    with pytest.raises(QueueFullError):
        queue.run(queue.sink.append(b"x", request_id="s2", max_bytes=100))
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000, sink_max_bytes=1000)) is not None


def test_a_full_input_evicts_its_oldest_waiting_task_with_a_result(queue: Queue, bench: Bench) -> None:
    first, second = bench.put(task_id="t1"), bench.put(task_id="t2")
    task = bench.begin()
    assert task.index == first.index
    placed = put(queue, "new", max_length=2, evict=GONE)
    assert placed.index == 3
    assert waiting(queue) == {first.request_id, "new"}, "the running one is a worker's"
    (entry,) = queue.run(queue.sink.get(limit=9)).entries
    assert entry.data == b"evicted"
    assert entry.tags == {"requestId": second.request_id, "task_id": "t2", "lastCode": "503"}
    status = queue.run(queue.tasks.status(second.request_id))
    assert status is not None
    assert status.state is State.EVICTED
    assert status.state.ended
    assert status.sink_index == entry.index
    bench.finish(task)


def test_a_waiting_caller_hears_that_its_task_was_evicted(queue: Queue, bench: Bench) -> None:
    placed = bench.put(reply=Reply.DIRECT)
    put(queue, "new", max_length=1, evict=GONE)
    reply = queue.run(queue.tasks.take_reply(placed.request_id))
    assert reply is not None
    assert (reply.data, reply.tags["lastCode"]) == (b"evicted", "503")
    assert queue.run(queue.sink.count()) == 0


def test_leased_tasks_are_never_evicted(queue: Queue, bench: Bench) -> None:
    bench.put()
    bench.put()
    bench.take()
    bench.begin()
    with pytest.raises(QueueFullError):
        put(queue, "new", max_length=2, evict=GONE)
    assert bench.results() == []


def test_eviction_begins_with_the_least_urgent_and_spares_the_more_urgent(queue: Queue, bench: Bench) -> None:
    for name, priority in (("urgent", 5), ("old", 0), ("low-old", -2), ("low", -2), ("young", 0)):
        put(queue, name, priority=priority)
    gone = []
    for number in range(4):
        before = waiting(queue)
        put(queue, f"new{number}", priority=1, max_length=5, evict=GONE)
        gone += before - waiting(queue)
    assert gone == ["low-old", "low", "old", "young"]
    with pytest.raises(QueueFullError):
        put(queue, "low-again", priority=0, max_length=5, evict=GONE)
    assert "urgent" in waiting(queue)


def test_one_large_task_evicts_several_or_none(queue: Queue) -> None:
    for number in range(4):
        put(queue, f"r{number}", b"x" * 100, priority=number % 2)
    limit = counted(queue, queue.source)
    put(queue, "urgent", b"x" * 100, priority=9, max_bytes=limit * 2)
    limit = counted(queue, queue.source)
    with pytest.raises(QueueFullError):
        put(queue, "huge", b"x" * (limit - 100), priority=1, max_bytes=limit, evict=GONE)
    assert len(waiting(queue)) == 5, "it would not have been enough, so nobody went"
    put(queue, "large", b"x" * 300, priority=1, max_bytes=limit, evict=GONE)
    assert waiting(queue) == {"r3", "urgent", "large"}
    assert counted(queue, queue.source) <= limit


def test_one_put_evicts_a_bounded_number(queue: Queue) -> None:
    for number in range(150):
        put(queue, f"r{number}")
    with pytest.raises(QueueFullError):
        put(queue, "new", max_length=10, evict=GONE)
    assert queue.run(queue.source.count()) == 150


def test_nothing_is_evicted_while_the_sink_has_no_place_for_its_result(queue: Queue, bench: Bench) -> None:
    bench.put()
    queue.run(queue.sink.append(b"full", request_id="s1"))
    with pytest.raises(QueueFullError):
        put(queue, "new", max_length=1, sink_max_length=1, evict=GONE)
    assert bench.waiting() == 1
    put(queue, "new", max_length=1, sink_max_length=1, sink_evict=True, evict=GONE)
    assert [data for _, data in bench.results()] == [b"evicted"]


def test_a_sink_that_evicts_drops_its_oldest_and_stops_nobody(queue: Queue, bench: Bench) -> None:
    queue.run(queue.sink.join(group="g", uid="u", connection="c", window=5))
    for number in range(3):
        bench.put()
        queue.run(queue.sink.append(b"%d" % number, request_id=f"s{number}", max_length=2, evict=True))
    assert [data for _, data in bench.results()] == [b"1", b"2"]
    queue.run(queue.sink.deliver(group="g", uid="u", connection="c", limit=5))
    how = {"worker": "w", "lease_ms": 1000, "sink_max_length": 2}
    assert queue.run(queue.tasks.reserve(**how)) is None
    assert queue.run(queue.tasks.reserve(**how, sink_evict=True)) is not None
    assert [data for _, data in bench.results()] == [b"2"]
    (group,) = queue.run(queue.sink.attributes()).groups
    assert (group.todo, group.pending) == (0, 1), "what was dropped is nobody's"


def test_an_idle_worker_drops_nothing(queue: Queue) -> None:
    queue.run(queue.sink.append(b"kept", request_id="s1"))
    call = queue.tasks.reserve(worker="w", lease_ms=1000, sink_max_length=1, sink_evict=True)
    assert queue.run(call) is None
    assert queue.run(queue.sink.count()) == 1
