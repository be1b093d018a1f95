"""Idempotency keys: of all puts under one, one is stored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from easel_queue import (
    Eviction,
    KeyReusedError,
    Once,
    Placed,
    Queue,
    QueueFullError,
    Reply,
    RequestIdTakenError,
)

from .conftest import Bench

ONCE = Once("alice", "key-1", "print")


def put(queue: Queue, request_id: str, once: Once | None = ONCE, **how: object) -> Placed:
    return queue.run(queue.tasks.put(b"x", request_id=request_id, once=once, **how))  # type: ignore[arg-type]


def test_a_known_key_answers_the_first_put_in_every_state(queue: Queue, bench: Bench) -> None:
    first = put(queue, "r1")
    assert not first.repeated
    again = Placed(first.index, "r1", repeated=True)
    assert put(queue, "r2") == again, "while it waits"
    task = bench.begin()
    assert put(queue, "r3") == again, "while it runs"
    bench.finish(task)
    assert put(queue, "r4") == again, "after it ended"
    assert queue.run(queue.source.count()) == 0
    assert len(bench.results()) == 1


def test_the_same_put_sent_twice_is_no_repetition(queue: Queue) -> None:
    """What the client does when the answer was lost."""
    assert put(queue, "r1") == put(queue, "r1") == Placed(1, "r1")


@pytest.mark.parametrize(
    "other",
    [Once("bob", "key-1", "print"), Once("alice", "key-2", "print"), Once("", "alice:key-1", "print")],
)
def test_a_key_belongs_to_its_user(queue: Queue, other: Once) -> None:
    put(queue, "r1")
    assert put(queue, "r2", other) == Placed(2, "r2")


def test_a_key_belongs_to_its_queue(queue: Queue) -> None:
    put(queue, "r1")
    for stream in (queue.sink, queue.rear):
        first = queue.run(stream.append(b"x", request_id="s1", once=ONCE))
        assert not first.repeated
        again = queue.run(stream.append(b"x", request_id="s2", once=ONCE))
        assert again == Placed(first.index, "s1", repeated=True)
        assert queue.run(stream.count()) == 1


def test_another_request_under_the_same_key_is_refused(queue: Queue) -> None:
    put(queue, "r1")
    with pytest.raises(KeyReusedError):
        put(queue, "r2", Once("alice", "key-1", "another"))
    assert queue.run(queue.source.count()) == 1
    queue.run(queue.sink.append(b"x", request_id="s1", once=ONCE))
    with pytest.raises(KeyReusedError):
        queue.run(queue.sink.append(b"y", request_id="s2", once=Once("alice", "key-1", "another")))


def test_a_new_key_does_not_adopt_another_tasks_request_id(queue: Queue) -> None:
    put(queue, "r1", None)
    with pytest.raises(RequestIdTakenError):
        put(queue, "r1")
    assert put(queue, "r2") == Placed(2, "r2"), "the refused put has not used the key up"


def test_a_refused_put_leaves_the_key_free(queue: Queue) -> None:
    put(queue, "r0", None)
    with pytest.raises(QueueFullError):
        put(queue, "r1", max_length=1)
    assert put(queue, "r2") == Placed(2, "r2")


def test_a_known_key_is_answered_by_a_full_queue_too(queue: Queue) -> None:
    put(queue, "r1")
    eviction = Eviction(b"evicted")
    assert put(queue, "r2", max_length=1, evict=eviction).repeated
    assert queue.run(queue.source.count()) == 1, "and nothing was evicted for it"


def test_concurrent_puts_of_one_key_store_one_task(queue: Queue) -> None:
    with ThreadPoolExecutor(16) as pool:
        placed = list(pool.map(lambda number: put(queue, f"r{number}"), range(64)))
    assert len({(one.index, one.request_id) for one in placed}) == 1
    assert sum(not one.repeated for one in placed) == 1
    assert queue.run(queue.source.count()) == 1


def _deleted(queue: Queue, bench: Bench) -> None:
    queue.run(queue.source.delete([1]))


def _cancelled(queue: Queue, bench: Bench) -> None:
    queue.run(queue.tasks.cancel(request_id="r1", data=b"cancelled"))


def _finished(queue: Queue, bench: Bench) -> None:
    bench.finish(bench.begin())


def _buried(queue: Queue, bench: Bench) -> None:
    queue.run(queue.tasks.fail(bench.begin(), error="e", data=b"dead", max_delivery=1))


@pytest.mark.parametrize("end", [_deleted, _cancelled, _finished, _buried])
def test_a_key_has_no_expiry_while_its_task_lives_and_an_hour_afterwards(
    queue: Queue, bench: Bench, end: Callable[[Queue, Bench], None]
) -> None:
    put(queue, "r1")
    name = queue.keys.idempotency("in", "alice", "key-1")
    assert queue._redis.pttl(name) == -1
    end(queue, bench)
    assert 3_590_000 < queue._redis.pttl(name) <= 3_600_000
    assert put(queue, "r2") == Placed(1, "r1", repeated=True)


def test_a_requeued_letter_keeps_its_key(queue: Queue, bench: Bench) -> None:
    put(queue, "r1")
    _buried(queue, bench)
    queue.run(queue.dead.requeue("r1"))
    assert queue._redis.pttl(queue.keys.idempotency("in", "alice", "key-1")) == -1
    assert put(queue, "r2") == Placed(1, "r1", repeated=True)
    _finished(queue, bench)
    assert queue._redis.pttl(queue.keys.idempotency("in", "alice", "key-1")) > 0


def test_the_key_of_a_requeued_call_says_that_its_result_goes_to_the_sink(queue: Queue, bench: Bench) -> None:
    put(queue, "r1", reply=Reply.DIRECT)
    _buried(queue, bench)
    assert put(queue, "r2", reply=Reply.DIRECT).reply is Reply.DIRECT
    queue.run(queue.dead.requeue("r1"))
    assert put(queue, "r2", reply=Reply.DIRECT).reply is Reply.SINK


def test_removing_an_old_item_leaves_the_keys_new_owner_alone(queue: Queue, bench: Bench) -> None:
    put(queue, "r1")
    name = queue.keys.idempotency("in", "alice", "key-1")
    queue._redis.delete(name)  # as when the hour is over while the letter still lies in the rear
    put(queue, "r2")
    queue.run(queue.source.delete([1]))
    assert queue._redis.pttl(name) == -1


def test_a_direct_reply_under_a_key_can_be_taken_again(queue: Queue, bench: Bench) -> None:
    put(queue, "r1", reply=Reply.DIRECT)
    bench.finish(bench.begin(), b"picture")
    assert put(queue, "r2").reply is Reply.DIRECT
    for _ in range(2):
        entry = queue.run(queue.tasks.take_reply("r1"))
        assert entry is not None
        assert entry.data == b"picture"
    assert 0 < queue._redis.pttl(queue.keys.reply("r1")) <= 600_000
