"""Negative commits, on the real scripts."""

from __future__ import annotations

import json

from easel_queue import LeaseLostError, Once, Queue, Rejected, Search, State

from .conftest import Bench, Clock
from .watching import Watch, fill

RESULT = b"given up"


def reject_task(queue: Queue, *indexes: int, group: str = "eas", **how: object) -> Rejected:
    how = {
        "uid": "u1",
        "call_id": f"{indexes}-{queue.run(queue.source.get()).entries}",
        "error": "Broken: no model",
        "max_delivery": 2,
        "data": RESULT,
        "tags": {"lastCode": "503"},
        **how,
    }
    return queue.run(queue.source.reject(indexes, group=group, **how))


def watch_tasks(queue: Queue, uid: str = "u1", group: str = "eas") -> list[int]:
    who = {"group": group, "uid": uid, "connection": uid}
    queue.run(queue.source.join(**who, window=5))
    return [entry.index for entry in queue.run(queue.source.deliver(**who, limit=5))]


def test_a_rejected_item_comes_back_with_the_reason(sink: Queue) -> None:
    fill(sink, 3)
    watch = Watch(sink).join()
    assert watch.indexes() == [1, 2, 3]
    assert watch.reject(2, error="Model.NotFound: no such model") == Rejected(returned=1, given_up=0)
    (entry,) = watch.deliver()
    assert (entry.index, entry.data) == (2, b"r2")
    assert entry.last_error == "delivery 1 to eas.u1: Model.NotFound: no such model"
    assert watch.commit(1, 2, 3) == 3
    assert sink.run(sink.sink.count()) == 0


def test_at_the_limit_an_item_is_set_aside_for_this_group_only(sink: Queue) -> None:
    fill(sink, 2)
    watch = Watch(sink).join()
    other = Watch(sink, group="audit", connection="c2").join()
    assert watch.indexes() == [1, 2]
    watch.reject(1)
    assert watch.indexes() == [1]
    assert watch.reject(1) == Rejected(returned=0, given_up=1)
    assert watch.indexes() == [], "not delivered to this group again"
    group = next(group for group in sink.run(sink.sink.attributes()).groups if group.name == "eas")
    assert (group.todo, group.pending, group.aside) == (0, 1, 1)
    assert other.indexes() == [1, 2], "another group gets it"
    other.commit(1, 2)
    (kept, _) = sink.run(sink.sink.get(limit=5)).entries
    assert kept.last_error == "delivery 2 to eas.u1: Broken", "it is not lost without a word"
    assert watch.commit(1, 2) == 2
    assert sink.run(sink.sink.count()) == 0


def test_an_item_set_aside_goes_with_its_abandoned_group(sink: Queue, clock: Clock) -> None:
    fill(sink, 1)
    gone = Watch(sink, group="gone", connection="c2").join()
    gone.indexes()
    gone.reject(1, max_delivery=1)
    gone.leave()
    clock.advance(2 * 86_400)
    watch = Watch(sink).join()
    watch.commit(*watch.indexes())
    assert sink.run(sink.sink.count()) == 1
    sink.run(sink.sink.sweep())  # forgets the watcher
    sink.run(sink.sink.sweep())  # then the group
    assert sink.run(sink.sink.count()) == 0


def test_a_call_counts_once_and_only_for_what_the_caller_still_has(sink: Queue) -> None:
    fill(sink, 3)
    watch = Watch(sink).join()
    assert watch.indexes(1) == [1]
    assert watch.reject(1, call_id="same").returned == 1
    assert watch.reject(1, call_id="other").returned == 0, "it waits already"
    assert watch.indexes(1) == [1]
    assert watch.reject(1, call_id="same").returned == 0, "sent again after a lost answer"
    assert watch.reject(1, uid="somebody else").returned == 0
    assert watch.reject(2, 99) == Rejected(0, 0), "not delivered, and unknown"
    assert watch.reject(1, uid=None) == Rejected(0, 1), "without a uid: whoever has it"


def test_shutdown_gives_back_without_counting_and_gets_nothing_more(sink: Queue) -> None:
    fill(sink, 3)
    leaving = Watch(sink, "leaving", window=2).join()
    assert leaving.indexes() == [1, 2]
    assert leaving.reject(1, exits=True, max_delivery=1) == Rejected(returned=1, given_up=0)
    assert leaving.indexes() == []
    (watcher,) = sink.run(sink.sink.attributes()).watchers
    assert (watcher.state, watcher.pending) == ("Leaving", 1)
    other = Watch(sink, "other", connection="c2").join()
    (first, *_) = other.deliver()
    assert (first.index, first.last_error) == (1, "")
    leaving.leave()
    assert Watch(sink, "leaving", connection="c3").join().indexes() == [2], "a new connection starts afresh"


def test_states_of_watchers_that_left(sink: Queue, clock: Clock) -> None:
    fill(sink, 2)

    def state() -> str:
        return next(w.state for w in sink.run(sink.sink.attributes()).watchers if w.uid == "u1")

    watch = Watch(sink).join()
    assert state() == "Running"
    watch.indexes()
    watch.commit(1)
    watch.leave()
    assert state() == "Leaving"
    clock.advance(61)
    assert state() == "Exit"
    other = Watch(sink, "u2", connection="c2").join()
    assert other.indexes() == [2]
    assert state() == "Exit", "somebody has it, nobody has consumed it"
    other.commit(2)
    assert state() == "Complete"


def test_a_rejected_task_counts_deliveries_and_ends_in_the_rear(bench: Bench, queue: Queue) -> None:
    placed = bench.put(kind="a")
    assert watch_tasks(queue) == [1]
    assert reject_task(queue, 1, call_id="1") == Rejected(1, 0)
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert (status.state, status.deliveries) == (State.WAITING, 1)
    assert status.errors == ("delivery 1 to eas.u1: Broken: no model",)
    assert watch_tasks(queue, uid="u1") == [1]
    assert reject_task(queue, 1, call_id="2") == Rejected(0, 1)
    (letter,) = queue.run(queue.rear.get(limit=5)).entries
    assert (letter.index, letter.last_error) == (1, "delivery 2 to eas.u1: Broken: no model")
    (result,) = queue.run(queue.sink.get(limit=5)).entries
    assert result.data == RESULT
    assert result.tags == {"requestId": placed.request_id, "kind": "a", "lastCode": "503"}
    assert bench.waiting() == 0
    ended = queue.run(queue.tasks.status(placed.request_id))
    assert ended is not None
    assert ended.state is State.DEAD


def test_a_rejected_task_is_a_dead_letter_like_any_other(bench: Bench, queue: Queue, clock: Clock) -> None:
    once, put_at = Once("alice", "key", "print"), clock.now
    placed = queue.run(queue.tasks.put(b"body", request_id="r1", once=once))
    clock.advance(5)
    assert watch_tasks(queue) == [1]
    assert reject_task(queue, 1, max_delivery=1) == Rejected(0, 1)
    (letter,) = queue.run(queue.dead.page()).letters
    assert (letter.enqueued_ms, letter.died_ms, letter.deliveries) == (put_at, put_at + 5000, 1)
    assert letter.errors == ("delivery 1 to eas.u1: Broken: no model",)
    assert queue.run(queue.dead.requeue("r1")) == placed
    clock.advance(2 * 3600)  # longer than an ended task's key is remembered
    again = queue.run(queue.tasks.put(b"body", request_id="r2", once=once))
    assert (again.index, again.request_id) == (1, "r1")
    task = bench.begin()
    assert (task.deliveries, task.tags["requeued"]) == (0, "1")


def test_a_dropped_task_leaves_its_result_only(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    assert watch_tasks(queue) == [1]
    assert reject_task(queue, 1, max_delivery=1, rear=False) == Rejected(0, 1)
    assert queue.run(queue.rear.count()) == 0
    assert bench.results() == [(placed.request_id, RESULT)]


def test_deliveries_to_workers_and_to_watchers_add_up(bench: Bench, queue: Queue, service: str) -> None:
    bench.put()
    task = bench.begin()
    queue.run(queue.tasks.fail(task, error="e", data=b"", max_delivery=2))
    assert watch_tasks(queue, group=service) == [1]
    assert reject_task(queue, 1, group=service) == Rejected(0, 1)
    assert bench.results() == [(task.request_id, RESULT)]


def test_a_rejection_does_not_end_what_a_worker_runs(bench: Bench, queue: Queue) -> None:
    bench.put()
    assert watch_tasks(queue) == [1]
    task = bench.begin()
    assert reject_task(queue, 1, max_delivery=1) == Rejected(1, 0)
    bench.finish(task)
    assert bench.results() == [(task.request_id, b"result")]


def test_a_prefetched_task_that_is_given_up_is_not_started(bench: Bench, queue: Queue) -> None:
    bench.put()
    assert watch_tasks(queue) == [1]
    task = bench.take()
    assert reject_task(queue, 1, max_delivery=1) == Rejected(0, 1)
    try:
        queue.run(queue.tasks.start(task, lease_ms=1000))
    except LeaseLostError:
        started = False
    else:
        started = True
    assert not started
    raw = queue._redis.hget(queue.keys.of("rear", "e:1"), "errors")
    assert raw is not None
    assert len(json.loads(raw)) == 1


def test_search_counts_what_is_ahead_in_the_groups_order(sink: Queue) -> None:
    priorities = [0, 2, 0, 1, -1, 2, 0, -2, 1, -1]
    for number, priority in enumerate(priorities, 1):
        sink.run(sink.sink.append(b"", request_id=f"p{number}", priority=priority))
    order = sorted(range(1, 11), key=lambda index: (-priorities[index - 1], index))

    def ahead(group: str) -> list[Search | None]:
        return [sink.run(sink.sink.search(index, group=group)) for index in order]

    expected = [Search("", pending=False, ahead=position) for position in range(10)]
    assert ahead("unopened") == expected
    watch = Watch(sink, window=3).join()
    assert ahead("eas") == expected
    assert watch.indexes() == order[:3]
    having = [Search("eas.u1", pending=True, ahead=0)] * 3
    assert ahead("eas") == having + expected[:7]
    assert Watch(sink, group="unopened", connection="c2", window=10).join().indexes() == order
    watch.commit(order[0])
    assert ahead("eas")[0] == Search("", pending=False, ahead=0), "stored for the other group only"


def test_search_on_the_input_follows_priorities_in_any_group(
    bench: Bench, queue: Queue, service: str
) -> None:
    for priority in (0, 5, 0, 5):
        bench.put(priority=priority)
    for group in (service, "eas"):
        found = [queue.run(queue.source.search(index, group=group)) for index in (2, 4, 1, 3)]
        assert [search.ahead for search in found if search] == [0, 1, 2, 3]
