"""Users share the workers: in turn, by their shares, whatever the length of each one's backlog."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from easel_queue import Queue

from .asking import Line

_numbers = itertools.count()


@pytest.fixture
def line(queue: Queue) -> Line:
    return Line(queue)


def test_two_users_take_turns_however_long_the_backlog_of_one(line: Line) -> None:
    for _ in range(20):
        line.put("a")
    line.put("b")
    line.put("b")
    assert line.users(6) == "ababaa"


def test_one_users_tasks_go_in_order(line: Line) -> None:
    for user in "aabab":
        line.put(user)
    served = line.names(5)
    for user in "ab":
        own = [name for name in served if name[0] == user]
        assert own == sorted(own)


def test_users_who_came_once_each_go_in_order_of_arrival(line: Line) -> None:
    for user in "dbca":
        line.put(user)
    assert line.users(4) == "dbca"


def test_a_share_is_a_weight(line: Line) -> None:
    for _ in range(30):
        line.put("a", share=2)
        line.put("b")
        line.put("c", share=0.5)
    assert Counter(line.users(35)) == {"a": 20, "b": 10, "c": 5}


def test_a_changed_share_counts_for_what_waits_already(line: Line) -> None:
    for user in "ab":
        for _ in range(20):
            line.put(user)
    assert Counter(line.users(10)) == {"a": 5, "b": 5}
    line.put("a", share=4)
    assert Counter(line.users(10)) == {"a": 8, "b": 2}


def test_who_comes_back_is_served_soon_but_a_pause_earns_no_credit(line: Line) -> None:
    for _ in range(40):
        line.put("a")
    line.put("b")
    line.users(22)
    for _ in range(10):
        line.put("b")
    served = line.users(10)
    assert "b" in served[:2]
    assert Counter(served) == {"a": 5, "b": 5}


def test_a_stream_of_new_users_starves_nobody(line: Line) -> None:
    """Each newcomer was served less recently than anybody else, yet the one with a backlog gets its turns."""
    for _ in range(10):
        line.put("a")
    for number in range(5):
        line.put(f"n{number}")
    served = []
    for number in range(5, 60):
        line.put(f"n{number}")
        task = line.serve()
        assert task is not None
        served.append(task.meta["user"])
    turns = [position for position, user in enumerate(served) if user == "a"]
    assert len(turns) >= 5
    waiting_at_most = 6 + len(turns)
    assert max(later - earlier for earlier, later in itertools.pairwise(turns)) <= 2 * waiting_at_most


def test_each_priority_is_shared_for_itself_and_none_is_inverted(line: Line) -> None:
    for _ in range(4):
        line.put("a", priority=1)
        line.put("a")
        line.put("b")
    line.put("b", priority=1)
    served = line.names(13)
    assert [name[0] for name in served[:5]].count("b") == 1
    assert [name[0] for name in served[:2]] in (["a", "b"], ["b", "a"])
    assert [name[0] for name in served[5:9]].count("a") == 2


def test_a_task_that_comes_back_goes_before_its_users_others_again(line: Line, queue: Queue) -> None:
    for _ in range(3):
        line.put("a")
        line.put("b")
    first = line.serve()
    assert first is not None
    assert first.meta["user"] == "a"
    queue.run(queue.tasks.release(first))
    served = line.names(6)
    assert next(name for name in served if name[0] == "a") == first.request_id


def test_cancelling_the_first_of_a_lane_keeps_the_users_turn(line: Line, queue: Queue) -> None:
    first = line.put("a")
    second = line.put("a")
    line.put("b")
    queue.run(queue.tasks.cancel(request_id=first, data=b""))
    assert line.names(1) == [second]


def test_with_ordered_one_users_tasks_run_one_at_a_time(line: Line) -> None:
    mine = [line.put("a") for _ in range(3)]
    other = line.put("b")
    task = line.serve(user_max_working=1)
    assert task is not None
    assert task.request_id == mine[0]
    assert line.names(3, user_max_working=1) == [other], "a's next waits for a's first, b's does not"
    line.finish(task)
    assert line.names(3, user_max_working=1) == [mine[1]]


@pytest.mark.parametrize("end", ["finish", "fail", "release", "cancel", "delete", "reap"])
def test_whatever_ends_a_users_work_lets_the_next_task_go(line: Line, queue: Queue, end: str) -> None:
    line.put("a", priority=1)
    line.put("a", priority=3)
    task = line.serve(user_max_working=1)
    assert task is not None
    assert line.serve(user_max_working=1) is None
    tasks = queue.tasks
    if end == "finish":
        queue.run(tasks.finish(task, b"r"))
    elif end == "fail":
        queue.run(tasks.fail(task, error="e", data=b"", max_delivery=9))
    elif end == "release":
        queue.run(tasks.release(task))
    elif end == "cancel":
        queue.run(tasks.cancel(request_id=task.request_id, data=b""))
    elif end == "delete":
        queue.run(queue.source.delete([task.index]))
    else:
        queue.run(tasks.start(task, lease_ms=0))
        queue.run(tasks.reap(reaper="r", max_delivery=9))
    assert queue.wait_bell(1), "an idle worker is woken"
    following = line.serve(user_max_working=1)
    assert following is not None
    assert line.serve(user_max_working=1) is None


def test_a_lowered_limit_counts_at_once(line: Line) -> None:
    for _ in range(6):
        line.put("a")
    first, second = line.serve(user_max_working=2), line.serve(user_max_working=2)
    assert first is not None
    assert second is not None
    assert line.serve(user_max_working=2) is None
    line.finish(first)
    assert line.serve(user_max_working=1) is None
    line.finish(second)
    assert line.serve(user_max_working=1) is not None


def test_a_raised_limit_counts_at_the_next_end(line: Line) -> None:
    for _ in range(6):
        line.put("a")
    first = line.serve(user_max_working=1)
    assert first is not None
    line.finish(first)
    assert len(line.names(6, user_max_working=3)) == 3


def test_nothing_is_left_in_redis_when_the_line_is_empty(line: Line, queue: Queue, redis_url: str) -> None:
    for user in "abc":
        for priority in (0, 2):
            line.put(user, priority=priority, models=["m"], batch="x")
    line.users(6, models=["m"], bypass=4, user_max_working=1)
    server = redis.Redis.from_url(redis_url)
    prefix = f"{queue.keys.root}:in:"
    left = {name.decode().removeprefix(prefix) for name in server.keys(f"{prefix}*")}
    per_priority = {name for name in left if name.startswith(("clock:", "past:"))}
    assert left - per_priority <= {"seq", "token", "bell", "bytes"}
    assert all(server.zcard(prefix + name) <= 3 for name in per_priority if name.startswith("past:"))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    events=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["put", "put", "serve", "burst"])), max_size=60
    ),
    shares=st.fixed_dictionaries({user: st.sampled_from([0.5, 1, 3]) for user in "abcd"}),
)
@example(  # b begins behind c, which is why the bound is not Goyal's alone
    events=[("a", "put"), ("c", "put"), ("a", "serve"), ("b", "burst"), ("c", "put")],
    shares={"a": 0.5, "b": 3, "c": 0.5, "d": 0.5},
)
def test_between_users_who_wait_the_turns_never_drift_apart(
    redis_url: str, events: list[tuple[str, str]], shares: dict[str, float]
) -> None:
    """While two users both wait, what they got differs, by share, by at most a task each (Goyal's bound), and
    by one more at share 1: so far behind the lane that is next a newcomer may begin. Else a stream of
    newcomers, each before all who wait, would starve them."""
    queue = Queue(redis_url, service=f"fair{next(_numbers)}", clock=lambda: 1)
    line = Line(queue)
    waiting: Counter[str] = Counter()
    got: dict[frozenset[str], Counter[str]] = {}

    def watch() -> None:
        here = [user for user in "abcd" if waiting[user]]
        pairs = {frozenset(pair) for pair in itertools.combinations(here, 2)}
        for gone in set(got) - pairs:
            del got[gone]
        for pair in pairs - set(got):
            got[pair] = Counter()

    def check(pair: frozenset[str], turns: Counter[str]) -> None:
        one, two = pair
        apart = abs(turns[one] / shares[one] - turns[two] / shares[two])
        assert apart <= 1 / shares[one] + 1 / shares[two] + 1 + 1e-9, (sorted(pair), turns)

    for user, what in [*events, *[("a", "serve")] * 40]:
        if what == "serve":
            task = line.serve()
            assert (task is None) == (not waiting.total())
            if task:
                served = task.meta["user"]
                waiting[served] -= 1
                for pair, turns in got.items():
                    if served in pair:
                        turns[served] += 1
                        check(pair, turns)
        else:
            for _ in range(8 if what == "burst" else 1):
                line.put(user, share=shares[user])
                waiting[user] += 1
        watch()
    queue.close()
