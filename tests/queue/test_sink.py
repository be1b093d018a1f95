"""Groups, windows, commits and redelivery, on the real scripts."""

from __future__ import annotations

import pytest

from easel_queue import DuplicateWatcherError, Queue, QueueFullError, Search, State, WatcherFencedError

from .conftest import Bench, Clock
from .watching import Watch, fill


def test_delivery_in_order_and_never_beyond_the_window(sink: Queue) -> None:
    fill(sink, 12)
    watch = Watch(sink).join()
    assert watch.indexes() == [1, 2, 3, 4, 5]
    assert watch.indexes() == [], "the window is full"
    assert watch.commit(2) == 1
    assert watch.indexes() == [6]
    watch.commit(1, 3, 4)
    assert watch.indexes() == [7, 8, 9]


def test_length_is_zero_right_after_the_last_commit(sink: Queue) -> None:
    fill(sink, 3)
    watch = Watch(sink).join()
    for index in watch.indexes():
        watch.commit(index)
    assert sink.run(sink.sink.count()) == 0
    attributes = sink.run(sink.sink.attributes())
    assert (attributes.length, attributes.first, attributes.last) == (0, 0, 0)


def test_commit_twice_or_of_nothing_changes_nothing(sink: Queue) -> None:
    fill(sink, 1)
    watch = Watch(sink).join()
    watch.indexes()
    assert watch.commit(1) == 1
    assert watch.commit(1) == 0
    assert watch.commit(99) == 0


def test_commit_without_any_watcher_removes_the_item(sink: Queue) -> None:
    fill(sink, 2)
    assert sink.run(sink.sink.commit([1], group="eas")) == 1
    assert sink.run(sink.sink.count()) == 1


def test_what_a_watcher_left_uncommitted_is_delivered_again_first(sink: Queue) -> None:
    fill(sink, 6)
    first = Watch(sink, "u1").join()
    assert first.indexes() == [1, 2, 3, 4, 5]
    first.commit(3)
    assert first.leave() == 4
    second = Watch(sink, "u2", connection="c2").join()
    assert second.indexes() == [1, 2, 4, 5, 6]


def test_the_same_uid_may_come_back_at_once(sink: Queue) -> None:
    fill(sink, 2)
    watch = Watch(sink).join()
    assert watch.indexes() == [1, 2]
    watch.leave()
    assert Watch(sink, connection="c2").join().indexes() == [1, 2]


def test_a_live_duplicate_is_refused_and_a_silent_one_taken_over(sink: Queue, clock: Clock) -> None:
    fill(sink, 2)
    old = Watch(sink).join()
    assert old.indexes() == [1, 2]
    new = Watch(sink, connection="c2")
    with pytest.raises(DuplicateWatcherError):
        new.join()
    clock.advance(6.1)
    new.join()
    assert new.indexes() == [1, 2], "the silent connection's items came over"
    with pytest.raises(WatcherFencedError):
        old.deliver()
    assert old.leave() == 0, "the old connection can no longer take anything away"
    assert new.commit(1, 2) == 2


def test_sweep_takes_items_from_watchers_whose_gateway_died(sink: Queue, clock: Clock) -> None:
    fill(sink, 3)
    Watch(sink, "dead").join().deliver()
    assert sink.run(sink.sink.sweep()) == 0
    clock.advance(6.1)
    assert sink.run(sink.sink.sweep()) == 3
    assert Watch(sink, "alive", connection="c2").join().indexes() == [1, 2, 3]


def test_uids_of_a_group_share_and_groups_each_get_everything(sink: Queue) -> None:
    fill(sink, 6)
    one = Watch(sink, "u1", window=3).join()
    two = Watch(sink, "u2", connection="c2", window=3).join()
    other = Watch(sink, "u1", group="audit", connection="c3", window=10).join()
    assert (one.indexes(), two.indexes()) == ([1, 2, 3], [4, 5, 6])
    assert other.indexes() == [1, 2, 3, 4, 5, 6]
    one.commit(1, 2, 3, 4, 5, 6)
    assert sink.run(sink.sink.count()) == 6, "the other group has not committed yet"
    other.commit(1, 2)
    assert sink.run(sink.sink.count()) == 4


def test_items_that_arrive_later_reach_every_group(sink: Queue) -> None:
    watchers = [Watch(sink, "u", group=name, connection=name).join() for name in ("a", "b")]
    fill(sink, 2)
    assert [watch.indexes() for watch in watchers] == [[1, 2], [1, 2]]


def test_start_index_and_newest_only(sink: Queue) -> None:
    fill(sink, 4)
    assert Watch(sink, "n", group="n", connection="n", start=3).join().indexes() == [3, 4]
    newest = Watch(sink, "m", group="m", connection="m", start=-1).join()
    assert newest.indexes() == []
    fill(sink, 1)
    newest.leave()
    back = Watch(sink, "m", group="m", connection="m2", start=-1).join()
    assert back.indexes() == [5], "a reconnect goes on where the group stands"


def test_tag_filter_and_index_only(sink: Queue) -> None:
    fill(sink, 2, kind="a")
    fill(sink, 2, kind="b")
    assert Watch(sink, tags={"kind": "b"}).join().indexes() == [3, 4]
    (entry, *_) = Watch(sink, "i", group="i", connection="i", index_only=True).join().deliver()
    assert (entry.index, entry.data, entry.tags["kind"]) == (1, b"", "a")


def test_auto_commit_knows_no_window(sink: Queue) -> None:
    fill(sink, 10)
    assert len(Watch(sink, auto_commit=True, window=2).join().indexes()) == 10


def test_ids_with_odd_characters_stay_apart(sink: Queue) -> None:
    fill(sink, 1)
    for number, (group, uid) in enumerate([("a b", "c"), ("a", "b c"), ("a:w:b", "c"), ("a", "ü/%20")]):
        Watch(sink, uid, group=group, connection=f"c{number}").join()
    names = {(watcher.group, watcher.uid) for watcher in sink.run(sink.sink.attributes()).watchers}
    assert names == {("a b", "c"), ("a", "b c"), ("a:w:b", "c"), ("a", "ü/%20")}


def test_priority_of_a_sink_item_is_served_first(sink: Queue) -> None:
    fill(sink, 2)
    sink.run(sink.sink.append(b"", request_id="urgent", priority=1))
    assert Watch(sink).join().indexes() == [3, 1, 2], "in a group opened later"
    early = Watch(sink, group="g2", connection="c2").join()
    sink.run(sink.sink.append(b"", request_id="urgent2", priority=2))
    assert early.indexes() == [4, 3, 1, 2], "and in one that was open already"


def test_get_by_index_tags_and_request_id(sink: Queue) -> None:
    fill(sink, 2, kind="a")
    fill(sink, 2, kind="b")

    def get(**how: object) -> list[int]:
        return [entry.index for entry in sink.run(sink.sink.get(**how)).entries]

    assert get() == [1]
    assert get(start=2, limit=10) == [2, 3, 4]
    assert get(start=-1) == [4]
    assert get(tags={"kind": "b"}, limit=10) == [3, 4]
    assert get(request_id="s-3") == [3]
    assert get(request_id="nobody") == []
    assert get(tags={"kind": "a"}, limit=1, remove=True) == [1]
    assert get(limit=10) == [2, 3, 4]


def test_get_pages_through_a_long_queue(sink: Queue) -> None:
    fill(sink, 1001)
    sink.run(sink.sink.append(b"", request_id="last", tags={"kind": "rare"}))
    page = sink.run(sink.sink.get(tags={"kind": "rare"}))
    assert (page.entries, page.next_index) == ((), 1001)
    page = sink.run(sink.sink.get(tags={"kind": "rare"}, start=page.next_index))
    assert [entry.index for entry in page.entries] == [1002]


def test_removing_get_leaves_leased_tasks_alone(bench: Bench, queue: Queue) -> None:
    bench.put()
    bench.put()
    bench.take()
    page = queue.run(queue.source.get(limit=10, remove=True))
    assert [entry.index for entry in page.entries] == [2]
    assert queue.run(queue.source.count()) == 1


def test_delete_and_truncate(sink: Queue) -> None:
    fill(sink, 5)
    watch = Watch(sink).join()
    watch.indexes(2)
    assert sink.run(sink.sink.delete([1, 1, 77])) == 1
    assert sink.run(sink.sink.truncate(4)) == 2, "2 was pending, 3 was not; 4 itself stays"
    assert watch.indexes() == [4, 5]
    assert sink.run(sink.sink.truncate(100, limit=1)) == 1
    assert sink.run(sink.sink.truncate(100)) == 1
    assert sink.run(sink.sink.truncate(100)) == 0


def test_deleting_a_running_task_tells_its_worker_and_leaves_no_result(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    task = bench.begin("w5")
    assert queue.run(queue.source.delete([placed.index])) == 1
    assert queue.wait_inbox("w5", 1.0) == f"cancel {task.index}"
    assert queue.run(queue.tasks.status(placed.request_id)) is None
    assert bench.waiting() == 0


def test_a_commit_on_the_input_does_not_take_a_task_from_its_worker(bench: Bench, queue: Queue) -> None:
    bench.put()
    waiting = bench.put()
    task = bench.begin()
    assert queue.run(queue.source.commit([task.index, waiting.index], group="eas")) == 2
    assert queue.run(queue.source.count()) == 1
    bench.finish(task, b"still counted")
    assert bench.results() == [(task.request_id, b"still counted")]


def test_search_on_the_input_answers_for_the_workers_group(bench: Bench, queue: Queue, service: str) -> None:
    for _ in range(3):
        bench.put()
    bench.begin("w1")

    def search(index: int, group: str) -> Search | None:
        return queue.run(queue.source.search(index, group=group))

    assert search(1, service) == Search(f"{service}.w1", pending=True, ahead=0)
    assert search(3, service) == Search("", pending=False, ahead=1)
    assert search(9, service) is None
    foreign = search(1, "eas")
    assert foreign is not None
    assert not foreign.pending


def test_search_on_the_sink_answers_for_the_callers_group(sink: Queue) -> None:
    fill(sink, 3)
    watch = Watch(sink, "me", window=1).join()
    watch.indexes()
    assert sink.run(sink.sink.search(1, group="eas")) == Search("eas.me", pending=True, ahead=0)
    assert sink.run(sink.sink.search(3, group="eas")) == Search("", pending=False, ahead=1)
    assert sink.run(sink.sink.search(3, group="new")) == Search("", pending=False, ahead=2)


def test_attributes_tell_counts_groups_and_watchers(bench: Bench, queue: Queue, clock: Clock) -> None:
    bench.put()
    bench.put()
    bench.begin()
    source = queue.run(queue.source.attributes())
    assert (source.length, source.first, source.last, source.waiting, source.leased) == (2, 1, 2, 1, 1)
    fill(queue, 3)
    Watch(queue, "u1", window=2).join().deliver()
    clock.advance(1.5)
    sink = queue.run(queue.sink.attributes())
    (group,) = sink.groups
    assert (group.name, group.todo, group.pending) == ("eas", 1, 2)
    (watcher,) = sink.watchers
    assert (watcher.group, watcher.uid, watcher.pending, watcher.window) == ("eas", "u1", 2, 2)
    assert (watcher.state, watcher.idle_ms) == ("Running", 1500)


def test_an_abandoned_group_cannot_hold_items_for_ever(sink: Queue, clock: Clock) -> None:
    fill(sink, 2)
    Watch(sink, "gone", group="gone", connection="x").join().leave()
    watch = Watch(sink).join()
    watch.commit(*watch.indexes())
    assert sink.run(sink.sink.count()) == 2
    clock.advance(2 * 86_400)
    watch.connection = "c2"
    watch.join()
    sink.run(sink.sink.sweep())  # forgets the watcher
    sink.run(sink.sink.sweep())  # then the group
    assert sink.run(sink.sink.count()) == 0


def test_sink_put_by_a_client_is_limited_and_repeatable(sink: Queue) -> None:
    call = sink.sink.append(b"x", request_id="same", max_length=1)
    assert sink.run(call).index == 1
    assert sink.run(call).index == 1
    with pytest.raises(QueueFullError):
        sink.run(sink.sink.append(b"x", request_id="other", max_length=1))


def test_the_rear_keeps_the_inputs_indexes(bench: Bench, queue: Queue) -> None:
    bench.put()
    own = queue.run(queue.rear.append(b"mine", request_id="mine"))
    bench.put()
    queue.run(queue.tasks.fail(bench.begin(), error="e", data=b"", max_delivery=1))
    assert own.index == 2
    assert [entry.index for entry in queue.run(queue.rear.get(limit=10)).entries] == [1, 2]
    status = queue.run(queue.tasks.status("rid-1"))
    assert status is not None
    assert status.state is State.DEAD


def test_a_get_is_limited_in_bytes_and_goes_on(queue: Queue) -> None:
    for number in range(5):
        queue.run(queue.sink.append(b"x" * 1000, request_id=f"r{number}"))
    page = queue.run(queue.sink.get(limit=9, max_bytes=1500))
    assert ([entry.index for entry in page.entries], page.next_index) == ([1, 2], 3)
    page = queue.run(queue.sink.get(start=3, limit=9, max_bytes=1500, remove=True))
    assert ([entry.index for entry in page.entries], page.next_index) == ([3, 4], 5)
    page = queue.run(queue.sink.get(limit=9, max_bytes=1500, data=False))
    assert ([entry.index for entry in page.entries], page.next_index) == ([1, 2], 3)
    assert page.bytes >= 2000, "what is left out counts"
    assert {entry.data for entry in page.entries} == {b""}
