"""Dead letters: listed, shown, and put back into the input queue."""

from __future__ import annotations

import pytest

from easel_queue import (
    Placed,
    Queue,
    QueueFullError,
    Reply,
    RequestIdTakenError,
    State,
    StreamEndedError,
)

from .conftest import Bench, Clock


def bury(bench: Bench, error: str = "broken", **how: object) -> Placed:
    """A task that fails twice and is given up."""
    placed = bench.put(**how)  # type: ignore[arg-type]
    for _ in range(2):
        call = bench.queue.tasks.fail(bench.begin(), error=error, data=b"failed", max_delivery=2)
        bench.queue.run(call)
    return placed


def numbers(queue: Queue, **how: object) -> tuple[list[int], int]:
    page = queue.run(queue.dead.page(**how))  # type: ignore[arg-type]
    return [letter.index for letter in page.letters], page.next_index


def test_a_letter_tells_what_it_was_and_why_it_died(bench: Bench, queue: Queue, clock: Clock) -> None:
    put_at = clock.now
    placed = bench.put(b"body", priority=3, colour="red")
    clock.advance(5)
    for error in ("first", "second"):
        queue.run(queue.tasks.fail(bench.begin(), error=error, data=b"failed", max_delivery=2))
    (listed,) = queue.run(queue.dead.page()).letters
    assert (listed.index, listed.request_id, listed.priority, listed.deliveries) == (
        1,
        placed.request_id,
        3,
        2,
    )
    assert (listed.enqueued_ms, listed.died_ms) == (put_at, put_at + 5000)
    assert listed.tags == {"colour": "red", "requestId": placed.request_id}
    assert listed.errors == ("delivery 1 on w1: first", "delivery 2 on w1: second")
    assert (listed.data, listed.meta) == (b"", {})
    for name in ("1", placed.request_id):
        shown = queue.run(queue.dead.show(name))
        assert shown is not None
        assert (shown.data, shown.meta, shown.errors) == (b"body", {"path": "/p"}, listed.errors)
        assert shown.size == len(b"body") + len('{"path":"/p"}') + len('{"colour":"red","requestId":"rid-1"}')
    assert queue.run(queue.dead.show("2")) is None


def test_pages_in_both_orders_and_by_tag(bench: Bench, queue: Queue) -> None:
    for number in range(1, 6):
        bury(bench, colour="red" if number % 2 else "blue")
    assert numbers(queue) == ([1, 2, 3, 4, 5], 0)
    assert numbers(queue, limit=2) == ([1, 2], 3)
    assert numbers(queue, start=3, limit=2) == ([3, 4], 5)
    assert numbers(queue, start=5, limit=2) == ([5], 0)
    assert numbers(queue, limit=2, newest_first=True) == ([5, 4], 3)
    assert numbers(queue, start=3, limit=2, newest_first=True) == ([3, 2], 1)
    assert numbers(queue, start=1, limit=2, newest_first=True) == ([1], 0)
    assert numbers(queue, tags={"colour": "blue"}) == ([2, 4], 0)
    assert numbers(queue, tags={"colour": "blue"}, limit=1) == ([2], 3)
    assert numbers(queue, tags={"colour": "green"}) == ([], 0)


def test_a_search_by_tag_is_cut_into_steps(queue: Queue) -> None:
    for number in range(1, 1103):
        tags = {"wanted": "yes"} if number == 1102 else {}
        queue.run(queue.rear.append(b"", request_id=f"r{number}", tags=tags))
    assert numbers(queue, tags={"wanted": "yes"}) == ([], 1001)
    assert numbers(queue, tags={"wanted": "yes"}, start=1001) == ([1102], 0)


def test_a_requeued_letter_is_the_same_task_with_new_deliveries(bench: Bench, queue: Queue) -> None:
    placed = bury(bench, colour="red")
    bench.put()
    again = queue.run(queue.dead.requeue(placed.request_id))
    assert again == placed
    assert queue.run(queue.rear.count()) == 0
    task = bench.begin()
    assert (task.index, task.request_id, task.deliveries) == (placed.index, placed.request_id, 0), (
        "its old place"
    )
    assert task.tags == {"colour": "red", "requestId": placed.request_id, "requeued": "1"}
    assert task.meta == {"path": "/p"}
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert (status.state, status.deliveries, len(status.errors)) == (State.RUNNING, 1, 2)
    bench.finish(task, b"picture")
    entries = queue.run(queue.sink.get(limit=9)).entries
    assert [(entry.data, entry.tags.get("requeued")) for entry in entries] == [
        (b"failed", None),
        (b"picture", "1"),
    ]
    assert {entry.request_id for entry in entries} == {placed.request_id}


def test_a_letter_may_die_again_and_counts_its_requeues(bench: Bench, queue: Queue) -> None:
    placed = bury(bench)
    for count in ("1", "2"):
        queue.run(queue.dead.requeue(str(placed.index)))
        for _ in range(2):
            queue.run(queue.tasks.fail(bench.begin(), error="still", data=b"failed", max_delivery=2))
        letter = queue.run(queue.dead.show(placed.request_id))
        assert letter is not None
        assert letter.tags["requeued"] == count
        assert letter.deliveries == 2
    assert len(letter.errors) == 6, "the errors of all its lives"


def test_requeueing_twice_is_safe(bench: Bench, queue: Queue) -> None:
    placed = bury(bench)
    for name in (placed.request_id, placed.request_id, str(placed.index)):
        assert queue.run(queue.dead.requeue(name)) == placed
    assert queue.run(queue.source.count()) == 1
    bench.finish(bench.begin())
    assert queue.run(queue.dead.requeue(placed.request_id)) is None
    fresh = bench.put()
    assert queue.run(queue.dead.requeue(fresh.request_id)) is None, "a task that never died"


def test_a_full_input_keeps_the_letter(bench: Bench, queue: Queue) -> None:
    placed = bury(bench)
    bench.put()
    for limit in ({"max_length": 1}, {"max_bytes": 30}):
        with pytest.raises(QueueFullError):
            queue.run(queue.dead.requeue(placed.request_id, **limit))
        assert queue.run(queue.dead.requeue_matching(**limit)).full
    assert numbers(queue) == ([placed.index], 0)


def test_an_ended_input_keeps_the_letter_until_it_is_open_again(bench: Bench, queue: Queue) -> None:
    first, second = bury(bench), bury(bench)
    queue.run(queue.dead.requeue(first.request_id))
    marker = queue.run(queue.source.end()).marker
    with pytest.raises(StreamEndedError):
        queue.run(queue.dead.requeue(second.request_id))
    with pytest.raises(StreamEndedError):
        queue.run(queue.dead.requeue_matching())
    assert numbers(queue) == ([second.index], 0)
    assert queue.run(queue.source.count()) == 1
    assert queue.run(queue.dead.requeue(first.request_id)) == first, "a repetition keeps its answer"
    queue.run(queue.source.delete([marker]))
    assert queue.run(queue.dead.requeue_matching()).count == 1
    assert [bench.take().index for _ in range(2)] == [first.index, second.index]


def test_a_newer_task_of_the_same_id_is_not_overwritten(bench: Bench, queue: Queue) -> None:
    placed = bury(bench)
    queue._redis.delete(queue.keys.done(placed.request_id))  # as after an hour
    newer = queue.run(queue.tasks.put(b"newer", request_id=placed.request_id))
    with pytest.raises(RequestIdTakenError):
        queue.run(queue.dead.requeue(placed.request_id))
    assert queue.run(queue.dead.requeue_matching()).count == 0
    assert numbers(queue) == ([placed.index], 0)
    assert bench.take().index == newer.index


def test_the_second_result_of_a_waiting_callers_task_goes_to_the_sink(bench: Bench, queue: Queue) -> None:
    placed = bury(bench, reply=Reply.DIRECT)
    assert queue.run(queue.tasks.take_reply(placed.request_id)) is not None
    queue.run(queue.dead.requeue(placed.request_id))
    assert bench.finish(bench.begin()) == 1


def test_what_a_client_put_into_the_rear_can_be_requeued(bench: Bench, queue: Queue) -> None:
    placed = queue.run(queue.rear.append(b"own", request_id="mine", priority=2))
    assert queue.run(queue.dead.requeue("mine")) == Placed(placed.index, "mine")
    task = bench.begin()
    assert (task.data, task.priority, task.deliveries) == (b"own", 2, 0)
    bench.finish(task)


def test_many_are_requeued_by_tag_until_the_queue_is_full(bench: Bench, queue: Queue) -> None:
    for number in range(1, 7):
        bury(bench, colour="red" if number % 2 else "blue")
    done = queue.run(queue.dead.requeue_matching(tags={"colour": "red"}, max_length=2))
    assert (done.count, done.next_index, done.full) == (2, 5, True)
    done = queue.run(queue.dead.requeue_matching(tags={"colour": "red"}, start=5))
    assert (done.count, done.next_index, done.full) == (1, 0, False)
    assert numbers(queue) == ([2, 4, 6], 0)
    done = queue.run(queue.dead.requeue_matching(limit=2))
    assert (done.count, done.next_index) == (2, 6)
    assert [bench.take().index for _ in range(5)] == [1, 2, 3, 4, 5]


def test_requeueing_many_is_cut_into_steps(queue: Queue) -> None:
    for number in range(1, 103):
        queue.run(queue.rear.append(b"", request_id=f"r{number}"))
    done = queue.run(queue.dead.requeue_matching(limit=1000))
    assert (done.count, done.next_index, done.full) == (100, 101, False)


def test_watchers_of_both_queues_see_a_letter_go(bench: Bench, queue: Queue) -> None:
    who = {"group": "g", "uid": "u", "connection": "c"}
    for stream in (queue.rear, queue.source):
        queue.run(stream.join(**who, window=5))
    placed = bury(bench)
    assert [entry.index for entry in queue.run(queue.rear.deliver(**who, limit=5))] == [placed.index]
    queue.run(queue.dead.requeue(placed.request_id))
    (group,) = queue.run(queue.rear.attributes()).groups
    assert (group.todo, group.pending) == (0, 0)
    assert [entry.index for entry in queue.run(queue.source.deliver(**who, limit=5))] == [placed.index]
