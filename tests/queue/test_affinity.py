"""A worker is given what it has the models for, within bounds; and batches of what goes together."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from easel_queue import Kin, LeaseLostError, Origin, Queue, State

from .asking import LEASE_MS, Line

_numbers = itertools.count()
BYPASS = 3


@pytest.fixture
def line(queue: Queue) -> Line:
    return Line(queue)


def test_a_loaded_model_is_preferred(line: Line) -> None:
    line.put("a", models=["x"])
    line.put("b", models=["y"])
    assert line.names(2, models=["y"], bypass=BYPASS) == ["b2", "a1"]


def test_the_finer_match_is_preferred_to_the_coarser(line: Line) -> None:
    line.put("a", models=["x"])
    line.put("b", models=["y"])
    line.put("c", models=["y+lora", "y"])
    assert line.names(3, models=["y+lora", "y"], bypass=BYPASS) == ["c3", "b2", "a1"]


def test_without_a_bypass_the_order_is_kept(line: Line) -> None:
    line.put("a", models=["x"])
    line.put("b", models=["y"])
    assert line.names(2, models=["y"]) == ["a1", "b2"]


def test_never_across_priorities(line: Line) -> None:
    line.put("a", models=["x"], priority=1)
    line.put("b", models=["y"])
    assert line.names(2, models=["y"], bypass=BYPASS) == ["a1", "b2"]


def test_never_out_of_a_users_order(line: Line) -> None:
    line.put("a", models=["x"])
    line.put("a", models=["y"])
    assert line.names(2, models=["y"], bypass=BYPASS) == ["a1", "a2"]


def test_a_task_is_bypassed_a_fixed_number_of_times(line: Line) -> None:
    line.put("a", models=["x"], name="cold")
    for number in range(10):
        line.put(f"u{number}", models=["y"])
    served = line.names(11, models=["y"], bypass=BYPASS)
    assert served.index("cold") == BYPASS


def test_being_bypassed_is_remembered_when_a_task_loses_its_place(line: Line, queue: Queue) -> None:
    """An older task of its user that comes back stands before it for a while; then its count goes on."""
    line.put("a", models=["x"], name="older")
    line.put("a", models=["x"], name="cold")
    older = line.serve()
    assert older is not None
    assert older.request_id == "older"
    for number in range(10):
        line.put(f"u{number}", models=["y"])
    assert "cold" not in line.names(2, models=["y"], bypass=BYPASS)
    queue.run(queue.tasks.release(older))
    queue.run(queue.tasks.cancel(request_id="older", data=b""))
    served = line.names(5, models=["y"], bypass=BYPASS)
    assert served.index("cold") <= BYPASS - 2


def test_the_users_of_a_loaded_model_get_no_more_than_their_share_for_long(line: Line) -> None:
    """The worker has whatever it rendered last: it changes models seldom, and both users get half."""
    for _ in range(60):
        line.put("a", models=["x"])
        line.put("b", models=["y"])
    loaded, served, changes = "x", Counter[str](), 0
    for _ in range(80):
        task = line.serve(models=[loaded], bypass=5)
        assert task is not None
        line.finish(task)
        served[task.meta["user"]] += 1
        needed = {"a": "x", "b": "y"}[task.meta["user"]]
        changes += needed != loaded
        loaded = needed
    assert abs(served["a"] - served["b"]) <= 2 * 5 + 2
    assert changes <= 20


def test_a_worker_that_stays_with_its_model_gives_the_other_user_half(line: Line) -> None:
    for _ in range(60):
        line.put("a", models=["x"])
        line.put("b", models=["y"])
    served = Counter(line.users(60, models=["y"], bypass=5))
    assert abs(served["a"] - served["b"]) <= 2 * 5


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    tasks=st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz"), st.booleans()), max_size=40),
    limit=st.integers(1, 3),
)
def test_no_task_is_bypassed_more_often_than_allowed(
    redis_url: str, tasks: list[tuple[str, str, bool]], limit: int
) -> None:
    """With one task a user the order is that of arrival, so every younger task that goes first bypasses."""
    queue = Queue(redis_url, service=f"kin{next(_numbers)}", clock=lambda: 1)
    line = Line(queue)
    waiting: list[str] = []
    bypassed: Counter[str] = Counter()
    for number, (model, loaded, also_put) in enumerate([*tasks, *[("x", "y", False)] * 40]):
        if number < len(tasks):
            waiting.append(line.put(f"u{number}-", models=[model], batch=model))
            if also_put:
                continue
        for task in line.serve_batch(limit, models=[loaded], bypass=BYPASS):
            place = waiting.index(task.request_id)
            bypassed.update(waiting[:place])
            del waiting[place]
    assert not waiting
    assert max(bypassed.values(), default=0) <= BYPASS
    queue.close()


def test_a_batch_is_of_one_kind_and_in_the_users_turns(line: Line) -> None:
    for user in "aab":
        line.put(user, batch="512")
    line.put("c", batch="768")
    line.put("d", batch="512")
    batch = line.serve_batch(8, bypass=BYPASS)
    assert [task.request_id for task in batch] == ["a1", "b3", "d5", "a2"]
    assert [task.request_id for task in line.serve_batch(8, bypass=BYPASS)] == ["c4"]


def test_a_batch_takes_a_users_tasks_in_order_only(line: Line) -> None:
    line.put("a", batch="512")
    line.put("a", batch="768")
    line.put("a", batch="512")
    assert [len(line.serve_batch(8, bypass=BYPASS)) for _ in range(3)] == [1, 1, 1]


def test_a_batch_stays_within_its_priority_and_its_limit(line: Line) -> None:
    for priority in (1, 1, 1, 0):
        line.put("a", batch="512", priority=priority)
    assert [len(line.serve_batch(2)) for _ in range(3)] == [2, 1, 1]


def test_a_task_without_a_batch_comes_alone(line: Line) -> None:
    line.put("a")
    line.put("a")
    assert len(line.serve_batch(8, bypass=BYPASS)) == 1


def test_with_ordered_a_batch_has_one_task_of_each_user(line: Line) -> None:
    for user in "aabb":
        line.put(user, batch="512")
    assert [task.meta["user"] for task in line.serve_batch(8, user_max_working=1)] == ["a", "b"]


def test_each_task_of_a_batch_has_its_own_lease_cancel_and_result(line: Line, queue: Queue) -> None:
    for user in "abc":
        line.put(user, batch="512")
    one, two, three = line.serve_batch(3)
    assert len({one.token, two.token, three.token}) == 3
    for task in (one, two, three):
        queue.run(queue.tasks.start(task, lease_ms=LEASE_MS))
    queue.run(queue.tasks.cancel(request_id=two.request_id, data=b"cancelled"))
    assert queue.run(queue.tasks.extend(two, lease_ms=1)).cancelled
    assert not queue.run(queue.tasks.extend(one, lease_ms=1)).cancelled
    line.finish(one)
    queue.run(queue.tasks.finish(two, b"cancelled", state=State.CANCELLED))
    queue.run(queue.tasks.release(three))
    with pytest.raises(LeaseLostError):
        queue.run(queue.tasks.finish(three, b"late"))
    results = queue.run(queue.sink.get(limit=9)).entries
    assert [(entry.request_id, entry.data) for entry in results] == [("a1", b"r"), ("b2", b"cancelled")]


def test_a_dead_letter_keeps_its_user_and_kin(line: Line, queue: Queue) -> None:
    line.put("a", models=["x"], batch="512")
    task = line.serve()
    assert task is not None
    queue.run(queue.tasks.start(task, lease_ms=LEASE_MS))
    queue.run(queue.tasks.fail(task, error="e", data=b"", max_delivery=1))
    line.put("b", models=["y"], batch="768")
    line.put("c", models=["x"], batch="512")
    queue.run(queue.dead.requeue(task.request_id, max_length=0, max_bytes=0))
    served = line.serve_batch(3, models=["x"], bypass=BYPASS)
    assert [one.request_id for one in served] == ["a1", "c3"]
    assert served[0].meta["user"] == "a"


def test_a_name_with_a_line_break_is_refused(queue: Queue) -> None:
    with pytest.raises(ValueError, match="no line breaks"):
        queue.tasks.put(b"x", request_id="r", origin=Origin("a"), kin=Kin("a\nb"))
