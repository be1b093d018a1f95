"""Tasks whose results are kept for a caller that comes back: records, and moving and pausing the line."""

from __future__ import annotations

from easel_queue import Origin, Queue, RecordStatus, Reply, Task, Whose

from .conftest import Bench, Clock

DAY_MS = 24 * 3600 * 1000
ENDED = (RecordStatus.DONE, RecordStatus.FAILED, RecordStatus.INTERRUPTED)


def submit(queue: Queue, request_id: str, *, user: str = "", priority: int = 0) -> None:
    queue.run(queue.records.keep(request_id, user=user, kind="txt2img", params='{"steps":3}'))
    queue.run(
        queue.tasks.put(
            b"body", request_id=request_id, reply=Reply.KEPT, origin=Origin(user), priority=priority
        )
    )


def status(queue: Queue, request_id: str) -> RecordStatus:
    record = queue.run(queue.records.show(request_id))
    assert record is not None
    return record.status


def listed(queue: Queue, *statuses: RecordStatus, **how: object) -> list[str]:
    page = queue.run(queue.records.page(statuses, **how))  # type: ignore[arg-type]
    return [record.request_id for record in page.records]


def test_a_record_follows_its_task_and_keeps_the_result(bench: Bench, queue: Queue, clock: Clock) -> None:
    submit(queue, "a")
    submit(queue, "b")
    record = queue.run(queue.records.show("b"))
    assert record is not None
    assert (record.status, record.position, record.params) == (RecordStatus.PENDING, 2, '{"steps":3}')
    task = bench.begin()
    assert status(queue, "a") is RecordStatus.RUNNING
    clock.advance(5)
    assert bench.finish(task, b"picture") == 0, "the sink never sees it"
    record = queue.run(queue.records.show("a"))
    assert record is not None
    assert (record.status, record.ended_ms - record.created_ms) == (RecordStatus.DONE, 5000)
    for _ in range(2):
        reply = queue.run(queue.tasks.take_reply("a"))
        assert reply is not None, "it can be taken again and again"
        assert reply.data == b"picture"
    for key in (queue.keys.record("a"), queue.keys.reply("a")):
        assert 6 * DAY_MS < queue._redis.pttl(key) <= 7 * DAY_MS
    assert bench.results() == []


def test_each_end_has_its_status(bench: Bench, queue: Queue) -> None:
    for name in ("cancelled", "refused", "dead", "interrupted", "deleted"):
        submit(queue, name)

    def end(name: str, task: Task) -> None:
        if name == "refused":
            queue.run(queue.tasks.finish(task, b"{}", tags={"lastCode": "422"}))
        elif name == "dead":
            queue.run(queue.tasks.fail(task, error="x", data=b"{}", tags={"lastCode": "500"}, max_delivery=1))
        else:
            queue.run(queue.tasks.interrupt(name))
            queue.run(queue.tasks.finish(task, b"{}"))

    queue.run(queue.tasks.cancel(request_id="cancelled", data=b"{}", tags={"lastCode": "499"}))
    for name in ("refused", "dead", "interrupted"):
        end(name, bench.begin())
    task = bench.take()
    queue.run(queue.source.delete([task.index]))
    found = {name: status(queue, name).value for name in ("cancelled", "refused", "dead", "interrupted")}
    assert found == {
        "cancelled": "interrupted",
        "refused": "failed",
        "dead": "failed",
        "interrupted": "interrupted",
    }
    assert status(queue, "deleted") is RecordStatus.FAILED


def test_listings_are_by_status_user_and_page(bench: Bench, queue: Queue, clock: Clock) -> None:
    for name, user in (("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", "")):
        submit(queue, name, user=user)
        clock.advance(1)
    assert listed(queue, RecordStatus.PENDING) == ["a", "b", "c", "d"], "in the order of the line"
    assert listed(queue, RecordStatus.PENDING, whose=Whose(frozenset({"ann"}))) == ["a", "c"]
    assert listed(queue, RecordStatus.PENDING, whose=Whose(frozenset({"ann", "bob"}), others=True)) == ["d"]
    for _ in range(2):
        bench.finish(bench.begin())
    assert listed(queue, *ENDED) == ["b", "a"], "the newest first"
    assert listed(queue, *ENDED, offset=1, limit=1) == ["a"]
    assert queue.run(queue.records.page(ENDED, limit=1)).total == 2
    assert listed(queue, *RecordStatus, limit=2) == ["b", "a"]


def test_a_record_is_renamed_marked_and_dropped(bench: Bench, queue: Queue) -> None:
    submit(queue, "a")
    assert queue.run(queue.records.rename("a", "portrait"))
    assert queue.run(queue.records.bookmark("a", True))
    record = queue.run(queue.records.show("a"))
    assert record is not None
    assert (record.name, record.bookmarked) == ("portrait", True)
    assert not queue.run(queue.records.rename("nobody", "x")), "and makes none"
    bench.finish(bench.begin())
    assert queue.run(queue.records.drop("a"))
    assert not queue.run(queue.records.drop("a"))
    assert queue.run(queue.records.show("a")) is None
    assert queue.run(queue.tasks.take_reply("a")) is None
    assert listed(queue, *RecordStatus) == []


def test_an_expired_record_is_forgotten_by_the_listing(queue: Queue) -> None:
    submit(queue, "a")
    queue._redis.delete(queue.keys.record("a"))
    assert listed(queue, *RecordStatus) == []
    assert queue._redis.zcard(queue.keys.records) == 0


def test_a_moved_task_is_served_where_its_new_priority_says(bench: Bench, queue: Queue) -> None:
    placed = [bench.put() for _ in range(4)]
    first, second, third, fourth = (item.request_id for item in placed)
    assert queue.run(queue.records.move(third, 1))
    assert queue.run(queue.records.move(first, -1))
    found = queue.run(queue.tasks.status(second))
    assert found is not None
    assert found.ahead == 1
    assert [bench.take().request_id for _ in range(4)] == [third, second, fourth, first]
    assert not queue.run(queue.records.move(third, 5)), "it does not wait any more"
    assert not queue.run(queue.records.move("nobody", 5))


def test_moving_keeps_the_lines_books(bench: Bench, queue: Queue) -> None:
    """Nothing is left behind once the tasks are done: lanes, levels and counts are as before."""
    for number in range(6):
        submit(queue, f"t{number}", user="ann" if number % 2 else "bob")
    for number, priority in ((3, 2), (0, 2), (3, 0), (5, -4), (5, -4)):
        assert queue.run(queue.records.move(f"t{number}", priority))
    served = [bench.begin() for _ in range(6)]
    assert [task.priority for task in served] == [2, 0, 0, 0, 0, -4]
    for task in served:
        bench.finish(task)
    left = {key.decode().split("}:", 1)[1] for key in queue._redis.scan_iter(f"{queue.keys.root}:in:*")}
    assert not {name for name in left if name.startswith(("in:lane", "in:user", "in:level", "in:seated"))}


def test_a_watcher_of_the_input_is_offered_a_moved_task_by_its_new_priority(
    bench: Bench, queue: Queue
) -> None:
    queue.run(queue.source.join(group="g", uid="u", connection="c", window=1))
    bench.put()
    urgent = bench.put().request_id
    queue.run(queue.records.move(urgent, 3))
    (entry,) = queue.run(queue.source.deliver(group="g", uid="u", connection="c", limit=1))
    assert entry.request_id == urgent


def test_while_paused_nothing_is_handed_out(bench: Bench, queue: Queue) -> None:
    running = bench.put()
    task = bench.begin()
    bench.put()
    assert queue.run(queue.records.pause(True))
    assert queue.run(queue.records.pause())
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000)) is None
    queue.run(queue.tasks.extend(task, lease_ms=10_000))
    bench.finish(task)
    assert bench.results()[0][0] == running.request_id, "what runs goes on"
    while queue.wait_bell(0.01):
        pass
    assert not queue.run(queue.records.pause(False))
    assert queue.wait_bell(0.01), "an idle worker is woken"
    bench.take()
