"""Tasks while they run and wait: listed, found by their names, shown, and asked to end early."""

from __future__ import annotations

import pytest

from easel_queue import (
    MAX_PREVIEW_BYTES,
    Found,
    InterruptOutcome,
    LeaseLostError,
    Once,
    Origin,
    Queue,
    Renewal,
    Task,
    Whose,
)

from .conftest import Bench, Clock


def renewal(queue: Queue, task: Task) -> Renewal:
    return queue.run(queue.tasks.extend(task, lease_ms=10_000))


def told(queue: Queue, worker: str = "w1") -> list[str]:
    """What a worker hears, until it hears nothing more."""
    heard: list[str] = []
    while message := queue.wait_inbox(worker, 0.01):
        heard.append(message)
    return heard


def test_an_interrupt_reaches_the_running_task_and_no_other(bench: Bench, queue: Queue) -> None:
    meant, other = bench.put(), bench.put()
    first, second = bench.begin("w1"), bench.begin("w2")
    assert queue.run(queue.tasks.interrupt(meant.request_id)) is InterruptOutcome.ASKED
    assert told(queue, "w1") == [f"interrupt {first.token}"]
    assert told(queue, "w2") == []
    assert renewal(queue, first).interrupted, "also without the message"
    assert not renewal(queue, second).interrupted
    assert bench.finish(first) == 1, "it ends with a result like any other"
    assert queue.run(queue.tasks.interrupt(meant.request_id)) is InterruptOutcome.UNKNOWN
    assert queue.run(queue.tasks.status(other.request_id)) is not None


def test_what_has_not_begun_is_not_interrupted(bench: Bench, queue: Queue) -> None:
    fetched, waiting = bench.put(), bench.put()
    task = bench.take()
    for placed in (fetched, waiting):
        assert queue.run(queue.tasks.interrupt(placed.request_id)) is InterruptOutcome.WAITING
        assert queue.run(queue.tasks.skip(placed.request_id)) is InterruptOutcome.WAITING
    queue.run(queue.tasks.start(task, lease_ms=1000))
    found = renewal(queue, task)
    assert (found.interrupted, found.skips) == (False, 0)
    assert told(queue) == []


def test_an_interrupt_ends_with_the_delivery_that_it_was_for(
    bench: Bench, queue: Queue, clock: Clock
) -> None:
    placed = bench.put()
    first = bench.begin()
    queue.run(queue.tasks.interrupt(placed.request_id))
    queue.run(queue.tasks.skip(placed.request_id))
    clock.advance(11)
    queue.run(queue.tasks.reap(reaper="r", max_delivery=3))
    again = bench.begin()
    found = renewal(queue, again)
    assert (found.interrupted, found.skips) == (False, 0)
    assert told(queue) == [f"interrupt {first.token}", f"skip {first.token} 1"], "and names the old lease"


def test_skips_are_counted_so_that_one_heard_twice_is_one(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    task = bench.begin()
    for _ in range(2):
        assert queue.run(queue.tasks.skip(placed.request_id)) is InterruptOutcome.ASKED
    assert told(queue) == [f"skip {task.token} 1", f"skip {task.token} 2"]
    assert queue.run(queue.tasks.progress(task, {"step": 1})).skips == 2


def test_running_tasks_are_listed_from_the_one_that_began_first(
    bench: Bench, queue: Queue, clock: Clock
) -> None:
    first, second = bench.put(colour="red"), bench.put()
    bench.put()
    one = bench.begin("w1")
    clock.advance(3)
    bench.begin("w2")
    queue.run(queue.tasks.progress(one, {"step": 2}))
    queue.run(queue.tasks.interrupt(second.request_id))
    older, newer = queue.run(queue.tasks.running())
    assert (older.request_id, newer.request_id) == (first.request_id, second.request_id)
    assert (older.elapsed_ms, newer.elapsed_ms) == (3000, 0)
    assert (older.progress, newer.progress) == ({"step": 2}, {})
    assert (older.interrupted, newer.interrupted) == (False, True)
    assert (older.worker, older.tags["colour"], older.meta) == ("w1", "red", {"path": "/p"})


def put_for(queue: Queue, user: str, request_id: str, priority: int = 0) -> None:
    origin = Origin(user)
    queue.run(queue.tasks.put(b"", request_id=request_id, origin=origin, priority=priority))


def test_the_line_is_listed_for_everybody_for_one_user_and_for_the_nameless(queue: Queue) -> None:
    for number, user in enumerate(["ann", "bob", "", "ann"]):
        put_for(queue, user, f"{user or 'x'}-{number}")
    put_for(queue, "bob", "bob-urgent", priority=5)
    queue.run(queue.tasks.reserve(worker="w", lease_ms=60_000))

    def listed(**how: object) -> tuple[int, int, list[str]]:
        page = queue.run(queue.tasks.waiting(**how))  # type: ignore[arg-type]
        return page.total, page.fetched, [task.request_id for task in page.tasks]

    assert listed() == (5, 1, ["bob-urgent", "ann-0", "bob-1", "x-2", "ann-3"]), "fetched, then by turn"
    assert listed(limit=2) == (5, 1, ["bob-urgent", "ann-0"])
    assert listed(offset=2, limit=2) == (5, 1, ["bob-1", "x-2"])
    assert listed(limit=0) == (5, 1, [])
    assert listed(whose=Whose(frozenset({"bob"}))) == (2, 1, ["bob-urgent", "bob-1"])
    assert listed(whose=Whose(frozenset({"bob"})), offset=1) == (2, 1, ["bob-1"])
    assert listed(whose=Whose(frozenset({"ann", "bob"}), others=True)) == (1, 0, ["x-2"])


@pytest.mark.parametrize(
    ("whose", "covered"),
    [
        (Whose(), {"", "ann", "bob"}),
        (Whose(frozenset({"ann"})), {"ann"}),
        (Whose(frozenset({"ann"}), others=True), {"", "bob"}),
    ],
)
def test_whose_covers_the_same_as_the_listing(whose: Whose, covered: set[str]) -> None:
    assert {user for user in ("", "ann", "bob") if whose.covers(user)} == covered


def test_a_preview_is_the_newest_and_only_the_leases_holder_shows_one(
    bench: Bench, queue: Queue, clock: Clock
) -> None:
    placed = bench.put()
    stale = bench.begin()
    first = queue.run(queue.tasks.preview(stale, b"one", media_type="image/png"))
    second = queue.run(queue.tasks.preview(stale, b"two", media_type="image/webp"))
    assert second > first
    shown = queue.run(queue.tasks.show_preview(placed.request_id, known=first))
    assert shown is not None
    assert (shown.number, shown.media_type, shown.data) == (second, "image/webp", b"two")
    known = queue.run(queue.tasks.show_preview(placed.request_id, known=second))
    assert known is not None
    assert (known.number, known.data) == (second, b"")
    clock.advance(11)
    queue.run(queue.tasks.reap(reaper="r", max_delivery=3))
    task = bench.begin()
    with pytest.raises(LeaseLostError):
        queue.run(queue.tasks.preview(stale, b"late", media_type="image/png"))
    assert queue.run(queue.tasks.preview(task, b"three", media_type="image/png")) > second
    with pytest.raises(ValueError, match=str(MAX_PREVIEW_BYTES)):
        queue.tasks.preview(task, bytes(MAX_PREVIEW_BYTES + 1), media_type="image/png")
    assert queue.run(queue.tasks.show_preview("nobody")) is None


def test_a_preview_goes_by_itself(bench: Bench, queue: Queue) -> None:
    placed = bench.put()
    queue.run(queue.tasks.preview(bench.begin(), b"x", media_type="image/png"))
    left = queue._redis.pttl(queue.keys.preview(placed.request_id))
    assert 0 < left <= 30_000


def test_a_task_is_found_by_each_of_its_names_and_by_its_user_only(bench: Bench, queue: Queue) -> None:
    once = Once("ann", "key-1", "print")
    queue.run(queue.tasks.put(b"", request_id="r1", once=once, origin=Origin("ann")))
    queue.run(queue.tasks.name("r1", "mine", user="ann"))
    for name in ("r1", "key-1", "mine"):
        assert queue.run(queue.tasks.find(name, user="ann")) == Found("r1", "ann")
    for name in ("key-1", "mine"):
        assert queue.run(queue.tasks.find(name, user="bob")) is None
    assert queue.run(queue.tasks.find("nothing", user="ann")) is None
    bench.finish(bench.begin())
    assert queue.run(queue.tasks.find("mine", user="ann")) == Found("r1", None), "also when it has ended"
