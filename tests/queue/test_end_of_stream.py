"""Ending a stream, and opening it again, on the real scripts."""

from __future__ import annotations

import pytest

from easel_queue import KeyReusedError, Once, Queue, RequestIdTakenError, StreamEndedError

from .conftest import Bench
from .watching import Watch, fill


def test_an_ended_sink_takes_no_puts_until_its_marker_is_removed(sink: Queue) -> None:
    fill(sink, 2)
    call = sink.sink.append(b"", request_id="late")
    for _ in range(2):
        assert sink.run(sink.sink.end()).marker == 3, "ending twice is ending once"
    with pytest.raises(StreamEndedError):
        sink.run(call)
    attributes = sink.run(sink.sink.attributes())
    assert (attributes.length, attributes.last, attributes.marker) == (2, 3, 3)
    assert sink.run(sink.sink.delete([3])) == 1
    assert sink.run(call).index == 4
    sink.run(sink.sink.end())
    assert sink.run(sink.sink.truncate(5)) == 3
    with pytest.raises(StreamEndedError):
        sink.run(sink.sink.append(b"", request_id="other"))  # the marker is 5 itself
    assert sink.run(sink.sink.truncate(6)) == 0
    assert sink.run(sink.sink.append(b"", request_id="other")).index == 6


def test_a_put_that_is_repeated_after_the_end_answers_its_index(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    queue.run(queue.source.end())
    assert queue.run(queue.tasks.put(b"body", request_id=placed.request_id)).index == placed.index
    with pytest.raises(StreamEndedError):
        bench.put()


def test_a_known_idempotency_key_keeps_its_first_answer_after_the_end(queue: Queue) -> None:
    once = Once("alice", "key", "print")

    def put(request_id: str, key: Once | None = once, max_bytes: int = 0) -> int:
        call = queue.tasks.put(b"x", request_id=request_id, once=key, max_bytes=max_bytes)
        return queue.run(call).index

    def append(request_id: str, key: Once | None = once, max_bytes: int = 0) -> int:
        call = queue.sink.append(b"x", request_id=request_id, once=key, max_bytes=max_bytes)
        return queue.run(call).index

    new = Once("alice", "new", "print")
    for store, stream in ((put, queue.source), (append, queue.sink)):
        assert store("r1") == 1
        queue.run(stream.end())
        assert store("r2") == 1
        queue.run(stream.end(force=True))  # drops the item, not the memory of its key
        assert store("r3") == 1
        with pytest.raises(KeyReusedError):
            store("r3", Once("alice", "key", "another request"))
        with pytest.raises(StreamEndedError):
            store("r4", new, 1)  # ended comes before too large
        queue.run(stream.delete([2]))
        assert store("r4", new) == 3, "a refused put is not remembered"
        queue.run(stream.end())
        with pytest.raises(RequestIdTakenError):
            store("r4", Once("alice", "newer", "print"))


def test_watchers_are_finished_when_their_group_has_committed_everything(sink: Queue) -> None:
    fill(sink, 3)
    first = Watch(sink, "u1", window=2).join()
    second = Watch(sink, "u2", connection="c2").join()
    assert first.indexes() == [1, 2]
    sink.run(sink.sink.end())
    assert second.indexes() == [3]
    second.commit(3)
    assert second.indexes() == [], "what the other one has may still come back"
    first.commit(1)
    assert first.leave() == 1
    assert second.indexes() == [2]
    second.commit(2)
    with pytest.raises(StreamEndedError):
        second.deliver()
    other = Watch(sink, group="late", connection="c3").join()
    with pytest.raises(StreamEndedError):
        other.deliver()


def test_a_filter_is_finished_when_nothing_fits(sink: Queue) -> None:
    fill(sink, 2, kind="a")
    watch = Watch(sink, tags={"kind": "b"}).join()
    assert watch.indexes() == []
    sink.run(sink.sink.end())
    with pytest.raises(StreamEndedError):
        watch.deliver()


def test_a_forced_end_drops_what_was_not_delivered(sink: Queue) -> None:
    fill(sink, 5)
    watch = Watch(sink, window=2).join()
    assert watch.indexes() == [1, 2]
    end = sink.run(sink.sink.end(force=True, limit=3))
    while end.next_index:
        end = sink.run(sink.sink.end(force=True, start=end.next_index, limit=3))
    assert sink.run(sink.sink.count()) == 2, "what the watcher has is its own to commit"
    with pytest.raises(StreamEndedError):
        watch.deliver()
    watch.leave()
    again = Watch(sink, connection="c2").join()
    assert again.indexes() == [1, 2]
    again.commit(1, 2)
    with pytest.raises(StreamEndedError):
        again.deliver()


def test_a_forced_end_lets_running_tasks_finish_and_results_are_always_stored(
    bench: Bench, queue: Queue
) -> None:
    for _ in range(3):
        bench.put()
    task = bench.begin()
    queue.run(queue.sink.end())
    queue.run(queue.source.end(force=True))
    assert queue.run(queue.source.count()) == 1
    assert bench.finish(task) > 0
    assert bench.results() == [(task.request_id, b"result")]
    assert bench.waiting() == 0


def test_a_delivery_is_cut_by_its_size(sink: Queue) -> None:
    for number in range(4):
        sink.run(sink.sink.append(b"x" * 1000, request_id=f"big-{number}"))
    watch = Watch(sink).join()
    who = {"group": "eas", "uid": "u1", "connection": "c1"}
    got = sink.run(sink.sink.deliver(**who, limit=9, max_bytes=1500))
    assert [entry.index for entry in got] == [1, 2]
    assert watch.indexes() == [3, 4]
