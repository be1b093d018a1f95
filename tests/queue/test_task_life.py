"""Every transition of a task, on the real scripts."""

from __future__ import annotations

import pytest

from easel_queue import (
    CancelOutcome,
    LeaseLostError,
    Queue,
    QueueFullError,
    Reply,
    SinkFullError,
    State,
    TaskCancelledError,
)

from .conftest import Bench, Clock


def test_indexes_start_at_one_and_count_up(bench: Bench) -> None:
    assert [bench.put().index for _ in range(3)] == [1, 2, 3]


def test_a_task_brings_what_was_put(bench: Bench) -> None:
    placed = bench.put(b"\x00\xffbytes", colour="grün", task_id="t1")
    task = bench.take()
    assert (task.index, task.request_id) == (placed.index, placed.request_id)
    assert task.data == b"\x00\xffbytes"
    assert task.tags == {"colour": "grün", "task_id": "t1", "requestId": placed.request_id}
    assert task.meta == {"path": "/p"}
    assert task.deliveries == 0
    assert task.reply is Reply.SINK


def test_put_with_a_known_request_id_answers_the_first_index(bench: Bench, queue: Queue) -> None:
    first = bench.put()
    again = queue.run(queue.tasks.put(b"other", request_id=first.request_id))
    assert again == first
    assert queue.run(queue.source.count()) == 1
    bench.finish(bench.begin())
    assert queue.run(queue.tasks.put(b"other", request_id=first.request_id)) == first, "also after it ended"
    assert queue.run(queue.source.count()) == 0


def test_a_full_queue_refuses_and_stores_nothing(bench: Bench, queue: Queue) -> None:
    bench.put()
    with pytest.raises(QueueFullError):
        queue.run(queue.tasks.put(b"", request_id="late", max_length=1))
    assert queue.run(queue.source.count()) == 1
    assert queue.run(queue.tasks.status("late")) is None


def test_larger_priority_first_then_order_of_arrival(bench: Bench) -> None:
    low = bench.put(priority=-3)
    normal = [bench.put(), bench.put()]
    urgent = [bench.put(priority=2), bench.put(priority=2)]
    order = [bench.take().index for _ in range(5)]
    assert order == [item.index for item in (*urgent, *normal, low)]


def test_extreme_priorities_are_clamped_not_confused(bench: Bench) -> None:
    bench.put(priority=-(10**9))
    bench.put(priority=10**9)
    bench.put(priority=511)
    assert [bench.take().index for _ in range(3)] == [2, 3, 1]


def test_reserve_on_an_empty_queue_is_none(queue: Queue) -> None:
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000)) is None


def test_a_task_is_leased_to_one_worker_only(bench: Bench, queue: Queue) -> None:
    bench.put()
    bench.take("w1")
    assert queue.run(queue.tasks.reserve(worker="w2", lease_ms=1000)) is None


def test_position_counts_the_tasks_ahead(bench: Bench, queue: Queue) -> None:
    for _ in range(3):
        bench.put()
    urgent = bench.put(priority=1)

    def ahead(rid: str) -> int:
        status = queue.run(queue.tasks.status(rid))
        assert status is not None
        return status.ahead

    assert [ahead(f"rid-{n}") for n in (1, 2, 3)] == [1, 2, 3]
    assert ahead(urgent.request_id) == 0
    bench.take()
    assert [ahead(f"rid-{n}") for n in (1, 2, 3)] == [0, 1, 2]


def test_a_delivery_counts_at_start_not_at_reserve(bench: Bench, queue: Queue) -> None:
    bench.put()
    queue.run(queue.tasks.release(bench.take()))
    task = bench.take()
    assert task.deliveries == 0
    assert queue.run(queue.tasks.start(task, lease_ms=1000)) == 1
    assert queue.run(queue.tasks.start(task, lease_ms=1000)) == 1, "a repeated start is the same delivery"


def test_finish_moves_the_task_to_the_sink_once(bench: Bench, queue: Queue) -> None:
    placed = bench.put(task_id="t7")
    task = bench.begin()
    call = queue.tasks.finish(task, b"picture", tags={"lastCode": "422"})
    assert queue.run(call).sink_index == 1
    assert queue.run(call).sink_index == 1, "a repeated finish finds its own result"
    (entry,) = queue.run(queue.sink.get(limit=10)).entries
    assert entry.data == b"picture"
    assert entry.tags == {"task_id": "t7", "requestId": placed.request_id, "lastCode": "422"}
    assert queue.run(queue.source.count()) == 0


def test_a_stale_lease_changes_nothing(bench: Bench, queue: Queue, clock: Clock) -> None:
    bench.put()
    stale = bench.begin("w1")
    clock.advance(11)
    assert queue.run(queue.tasks.reap(reaper="r", max_delivery=3)).requeued == 1
    fresh = bench.begin("w2")
    assert fresh.token > stale.token
    tasks = queue.tasks
    for call in (
        tasks.start(stale, lease_ms=1),
        tasks.extend(stale, lease_ms=1),
        tasks.progress(stale, {"step": 1}),
        tasks.finish(stale, b"late"),
        tasks.fail(stale, error="late", data=b"late", max_delivery=1),
        tasks.release(stale),
    ):
        with pytest.raises(LeaseLostError):
            queue.run(call)
    assert bench.results() == []
    bench.finish(fresh, b"good")
    assert bench.results() == [("rid-1", b"good")]
    with pytest.raises(LeaseLostError):
        queue.run(tasks.finish(stale, b"late"))
    assert bench.results() == [("rid-1", b"good")]


def test_extend_keeps_the_lease(bench: Bench, queue: Queue, clock: Clock) -> None:
    bench.put()
    task = bench.begin()
    clock.advance(9)
    renewal = queue.run(queue.tasks.extend(task, lease_ms=10_000))
    assert renewal.lease_until_ms == clock.now + 10_000
    assert not renewal.cancelled
    clock.advance(9)
    assert queue.run(queue.tasks.reap(reaper="r", max_delivery=1)).requeued == 0
    bench.finish(task)


def test_release_returns_the_task_to_its_old_place(bench: Bench, queue: Queue) -> None:
    first = bench.put()
    bench.put()
    task = bench.begin()
    queue.run(queue.tasks.release(task))
    again = bench.take()
    assert again.index == first.index
    assert again.deliveries == 0, "given back is not a delivery"


def test_fail_retries_until_max_delivery_then_buries(bench: Bench, queue: Queue) -> None:
    placed = bench.put(b"body", task_id="t1")
    for attempt in (1, 2):
        task = bench.begin()
        call = queue.tasks.fail(
            task, error=f"boom {attempt}", data=b"gave up", max_delivery=2, tags={"lastCode": "500"}
        )
        failed = queue.run(call)
        assert (failed.dead, failed.deliveries) == (attempt == 2, attempt)
    (entry,) = queue.run(queue.sink.get(limit=10)).entries
    assert (entry.data, entry.tags["lastCode"], entry.tags["task_id"]) == (b"gave up", "500", "t1")
    (dead,) = queue.run(queue.rear.get(limit=10)).entries
    assert (dead.index, dead.data, dead.request_id) == (placed.index, b"body", placed.request_id)
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert status.state is State.DEAD
    assert queue.run(queue.source.count()) == 0


def test_errors_of_each_delivery_are_kept(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    queue.run(queue.tasks.fail(bench.begin("w1"), error="first", data=b"", max_delivery=3))
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert status.errors == ("delivery 1 on w1: first",)
    assert status.state is State.WAITING


def test_dead_letters_can_be_dropped(bench: Bench, queue: Queue) -> None:
    bench.put()
    queue.run(queue.tasks.fail(bench.begin(), error="x", data=b"r", max_delivery=1, rear=False))
    assert queue.run(queue.rear.count()) == 0
    assert len(bench.results()) == 1


def test_reap_requeues_an_expired_reservation_without_counting(
    bench: Bench, queue: Queue, clock: Clock
) -> None:
    bench.put()
    bench.take("gone")
    assert queue.run(queue.tasks.reap(reaper="r", max_delivery=1)).requeued == 0, "the lease still runs"
    clock.advance(10.001)
    reaped = queue.run(queue.tasks.reap(reaper="r", max_delivery=1))
    assert (reaped.requeued, reaped.exhausted) == (1, ())
    assert bench.take().deliveries == 0


def test_reap_hands_an_exhausted_task_to_the_reaper(bench: Bench, queue: Queue, clock: Clock) -> None:
    bench.put()
    bench.begin("gone")
    clock.advance(11)
    reaped = queue.run(queue.tasks.reap(reaper="r", max_delivery=1, lease_ms=5000))
    (task,) = reaped.exhausted
    assert "gone" in task.last_error
    assert queue.run(queue.tasks.reap(reaper="r2", max_delivery=1)).exhausted == (), (
        "leased to the first reaper"
    )
    clock.advance(6)
    (again,) = queue.run(queue.tasks.reap(reaper="r2", max_delivery=1)).exhausted
    with pytest.raises(LeaseLostError):
        queue.run(queue.tasks.fail(task, error="", data=b"r", max_delivery=1))
    assert queue.run(queue.tasks.fail(again, error="", data=b"r", max_delivery=1)).dead
    assert len(bench.results()) == 1
    assert queue.run(queue.rear.count()) == 1


def test_cancel_a_waiting_task_ends_it_at_once(bench: Bench, queue: Queue) -> None:
    placed, other = bench.put(task_id="t1"), bench.put()
    call = queue.tasks.cancel(request_id=placed.request_id, data=b"cancelled", tags={"lastCode": "499"})
    assert queue.run(call) is CancelOutcome.CANCELLED
    assert queue.run(call) is CancelOutcome.UNKNOWN
    (entry,) = queue.run(queue.sink.get(limit=10)).entries
    assert entry.tags == {"task_id": "t1", "requestId": placed.request_id, "lastCode": "499"}
    assert bench.take().index == other.index, "only the named task was touched"


def test_cancel_a_prefetched_task_stops_its_start(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    task = bench.take()
    call = queue.tasks.cancel(request_id=placed.request_id, data=b"c")
    assert queue.run(call) is CancelOutcome.CANCELLED
    with pytest.raises(TaskCancelledError):
        queue.run(queue.tasks.start(task, lease_ms=1000))


def test_cancel_a_running_task_tells_its_worker(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    task = bench.begin("w9")
    call = queue.tasks.cancel(request_id=placed.request_id, data=b"c")
    assert queue.run(call) is CancelOutcome.STOPPING
    assert queue.wait_inbox("w9", 1.0) == f"cancel {task.index}"
    assert queue.run(queue.tasks.extend(task, lease_ms=1000)).cancelled
    assert queue.run(queue.tasks.progress(task, {"step": 1})).cancelled
    queue.run(queue.tasks.finish(task, b"stopped", state=State.CANCELLED))
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert status.state is State.CANCELLED
    assert len(bench.results()) == 1


def test_a_cancelled_task_ends_when_its_worker_dies(bench: Bench, queue: Queue, clock: Clock) -> None:
    placed = bench.put(task_id="t1")
    bench.begin("gone")
    queue.run(queue.tasks.cancel(request_id=placed.request_id, data=b"c", tags={"lastCode": "499"}))
    clock.advance(11)
    reaped = queue.run(queue.tasks.reap(reaper="r", max_delivery=5))
    assert (reaped.requeued, reaped.cancelled, reaped.exhausted) == (0, 1, ())
    (entry,) = queue.run(queue.sink.get(limit=10)).entries
    assert entry.data == b"c"
    assert entry.tags == {"task_id": "t1", "requestId": placed.request_id, "lastCode": "499"}


@pytest.mark.parametrize("end", ["fail", "release"])
def test_a_cancelled_task_is_not_delivered_again(bench: Bench, queue: Queue, end: str) -> None:
    placed = bench.put()
    task = bench.begin()
    queue.run(queue.tasks.cancel(request_id=placed.request_id, data=b"c"))
    if end == "fail":
        call = queue.tasks.fail(task, error="boom", data=b"gave up", max_delivery=1)
        assert queue.run(call).state is State.CANCELLED
        assert queue.run(call).state is State.CANCELLED, "repeated"
    else:
        queue.run(queue.tasks.release(task))
    assert bench.results() == [(placed.request_id, b"c")]
    assert queue.run(queue.source.count()) == 0
    assert queue.run(queue.rear.count()) == 0


def test_a_direct_reply_goes_to_the_caller_and_not_to_the_sink(bench: Bench, queue: Queue) -> None:
    placed = bench.put(reply=Reply.DIRECT)
    assert queue.run(queue.tasks.take_reply(placed.request_id)) is None
    queue.run(queue.tasks.finish(bench.begin(), b"answer", tags={"lastCode": "418"}))
    reply = queue.run(queue.tasks.take_reply(placed.request_id))
    assert reply is not None
    assert (reply.data, reply.tags["lastCode"]) == (b"answer", "418")
    assert queue.run(queue.tasks.take_reply(placed.request_id)) is None, "handed out once"
    assert bench.results() == []


def test_a_full_sink_stops_work_and_refuses_waiting_callers(bench: Bench, queue: Queue) -> None:
    bench.put()
    bench.finish(bench.begin())
    bench.put()
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000, sink_max_length=1)) is None
    with pytest.raises(SinkFullError):
        queue.run(queue.tasks.put(b"", request_id="d", reply=Reply.DIRECT, sink_max_length=1))
    queue.run(queue.sink.commit([1], group="eas"))
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000, sink_max_length=1)) is not None


def test_an_empty_result_writes_nothing_to_the_sink(bench: Bench, queue: Queue) -> None:
    bench.put()
    assert bench.finish(bench.begin(), b"") == 0
    assert bench.results() == []
    assert queue.run(queue.source.count()) == 0


def test_progress_is_kept_with_the_task(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    task = bench.begin("w3")
    queue.run(queue.tasks.progress(task, {"step": 3, "steps": 20}))
    status = queue.run(queue.tasks.status(placed.request_id))
    assert status is not None
    assert (status.state, status.worker, status.deliveries) == (State.RUNNING, "w3", 1)
    assert status.progress == {"step": 3, "steps": 20}


def test_the_bell_rings_for_a_task_and_falls_silent_when_all_are_taken(bench: Bench, queue: Queue) -> None:
    assert queue.wait_bell(0.01) is False
    bench.put()
    assert queue.wait_bell(1.0) is True
    bench.put()
    bench.take()
    bench.take()
    assert queue.run(queue.tasks.reserve(worker="w", lease_ms=1000)) is None
    assert queue.wait_bell(0.01) is False


def test_heartbeats_list_the_living_workers(queue: Queue) -> None:
    queue.run(queue.tasks.heartbeat("w1", {"host": "a"}))
    queue.run(queue.tasks.heartbeat("w2", {"host": "b"}))
    assert {worker.id: worker.info["host"] for worker in queue.run(queue.tasks.workers())} == {
        "w1": "a",
        "w2": "b",
    }
