"""Claims: bodies that lie elsewhere. What the scripts do with their names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from easel_queue import (
    Claim,
    ClaimLostError,
    ClaimWantedError,
    Eviction,
    LeaseLostError,
    Once,
    Queue,
    QueueFullError,
    Reply,
    SinkFullError,
    StreamEndedError,
    TooLargeError,
)

from .claiming import SIZE, announced, bring, finish_claim, gone, held, new_claim, put_claim
from .conftest import Bench, Clock

HOUR_MS = 3_600_000


def test_a_claim_is_stored_in_two_steps_and_comes_back(queue: Queue, bench: Bench) -> None:
    claim = new_claim()
    with pytest.raises(ClaimWantedError):
        queue.run(queue.tasks.put(claim, request_id="r"))
    assert (queue.run(queue.source.count()), announced(queue)) == (0, {claim.name})
    queue.run(queue.tasks.put(replace(claim, brought=True), request_id="r", tags={"a": "b"}))
    assert (announced(queue), gone(queue)) == (set(), set())
    stored = replace(claim, brought=True)
    assert queue.run(queue.source.get()).entries[0].claim == stored
    task = bench.take()
    assert (task.claim, task.data) == (stored, b"")
    queue.run(queue.source.join(group="g", uid="u", connection="c", window=5))
    (entry,) = queue.run(queue.source.deliver(group="g", uid="u", connection="c", limit=5))
    assert entry.claim == stored


def test_a_repetition_after_a_lost_answer_is_the_same_put(queue: Queue) -> None:
    name, placed = bring(queue, lambda body: queue.tasks.put(body, request_id="r"))
    again = queue.tasks.put(Claim(name, SIZE, brought=True), request_id="r")
    assert queue.run(again).index == placed.index
    assert queue.run(queue.claims.drop(name)) is False, "it was accepted"
    assert (held(queue), gone(queue)) == ([name], set())


@pytest.mark.parametrize("brought", [False, True])
@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (QueueFullError, {"max_length": 1}),
        (QueueFullError, {"max_bytes": SIZE + 50}),
        (TooLargeError, {"max_bytes": SIZE}),
        (SinkFullError, {"reply": Reply.DIRECT, "sink_max_length": 1}),
    ],
)
def test_a_put_that_is_refused_is_refused_before_its_body_is_wanted(
    queue: Queue, bench: Bench, brought: bool, error: type[Exception], fields: dict[str, object]
) -> None:
    bench.put()
    queue.run(queue.sink.append(b"x", request_id="s"))
    claim = replace(new_claim(), brought=brought)
    with pytest.raises(error):
        queue.run(queue.tasks.put(claim, request_id="r", **fields))  # type: ignore[arg-type]
    assert announced(queue) == set()


def test_an_ended_stream_and_a_known_key_want_no_body(queue: Queue) -> None:
    once = Once("user", "key", "print")
    first = queue.run(queue.tasks.put(b"x", request_id="r1", once=once))
    again = queue.run(queue.tasks.put(new_claim(), request_id="r2", once=once))
    assert (again.index, again.request_id, again.repeated) == (first.index, "r1", True)
    for stream in (queue.source, queue.sink):
        queue.run(stream.end())
    with pytest.raises(StreamEndedError):
        queue.run(queue.tasks.put(new_claim(), request_id="r3"))
    with pytest.raises(StreamEndedError):
        queue.run(queue.sink.append(new_claim(), request_id="r4"))
    assert announced(queue) == set()


def test_a_put_that_is_refused_after_its_body_was_brought_leaves_it_to_the_sweep(
    queue: Queue, bench: Bench
) -> None:
    claim = new_claim()
    with pytest.raises(ClaimWantedError):
        queue.run(queue.tasks.put(claim, request_id="r", max_length=1))
    bench.put()
    with pytest.raises(QueueFullError):
        queue.run(queue.tasks.put(replace(claim, brought=True), request_id="r", max_length=1))
    assert queue.run(queue.claims.drop(claim.name)) is True
    assert queue.run(queue.claims.sweep()) == (claim.name,), "nobody can be reading it: at once"


def test_evicting_waits_for_the_body(queue: Queue, bench: Bench) -> None:
    bench.put()

    def build(body: object) -> object:
        return queue.tasks.put(body, request_id="r", max_length=1, evict=Eviction(b"gone"))  # type: ignore[arg-type]

    claim = new_claim()
    with pytest.raises(ClaimWantedError):
        queue.run(build(claim))  # type: ignore[arg-type]
    assert bench.results() == [], "nothing has changed yet"
    queue.run(build(replace(claim, brought=True)))  # type: ignore[arg-type]
    assert bench.results() == [("rid-1", b"gone")]


def test_what_was_announced_too_long_ago_is_refused_and_swept(queue: Queue, clock: Clock) -> None:
    slow = new_claim()
    with pytest.raises(ClaimWantedError):
        queue.run(queue.tasks.put(slow, request_id="r"))
    clock.advance(3599)
    assert queue.run(queue.claims.sweep(bring_ms=HOUR_MS)) == ()
    clock.advance(1)
    assert queue.run(queue.claims.sweep(bring_ms=HOUR_MS)) == (slow.name,)
    with pytest.raises(ClaimLostError):
        queue.run(queue.tasks.put(replace(slow, brought=True), request_id="r"))
    assert queue.run(queue.source.count()) == 0
    assert queue.run(queue.claims.sweep()) == (slow.name,), "until its deletion is confirmed"
    assert queue.run(queue.claims.forget([slow.name])) == 1
    assert queue.run(queue.claims.sweep()) == ()


def test_a_body_stays_for_the_time_of_grace(queue: Queue, bench: Bench, clock: Clock) -> None:
    name = put_claim(bench, "r")
    queue.run(queue.source.delete([1]))
    clock.advance(59)
    assert queue.run(queue.claims.sweep(grace_ms=60_000)) == ()
    clock.advance(1)
    assert queue.run(queue.claims.sweep(grace_ms=60_000)) == (name,)


def test_the_true_size_counts(queue: Queue, bench: Bench) -> None:
    put_claim(bench, "r")
    assert queue.run(queue.source.attributes()).bytes == SIZE + len('{"requestId":"r"}') + len("{}")
    task = bench.begin()
    finish_claim(queue, task)
    assert queue.run(queue.source.attributes()).bytes == 0
    assert queue.run(queue.sink.attributes()).bytes == SIZE + len('{"requestId":"r"}') + len("{}")


def test_deliveries_and_reads_stop_at_the_true_size(queue: Queue) -> None:
    for number in range(4):
        bring(queue, lambda body, number=number: queue.sink.append(body, request_id=f"r{number}"))
    queue.run(queue.sink.join(group="g", uid="u", connection="c", window=9))
    who = {"group": "g", "uid": "u", "connection": "c"}
    assert len(queue.run(queue.sink.deliver(**who, limit=9, max_bytes=SIZE + 1))) == 2
    page = queue.run(queue.sink.get(limit=9, max_bytes=SIZE + 1))
    assert ([entry.index for entry in page.entries], page.next_index) == ([1, 2], 3)
    page = queue.run(queue.sink.get(start=3, limit=9, max_bytes=2 * SIZE))
    assert ([entry.index for entry in page.entries], page.next_index) == ([3, 4], 0)


def test_a_watcher_of_the_index_only_gets_no_claims(queue: Queue) -> None:
    bring(queue, lambda body: queue.sink.append(body, request_id="r"))
    who = {"group": "g", "uid": "u", "connection": "c"}
    queue.run(queue.sink.join(**who, window=9, index_only=True))
    (entry,) = queue.run(queue.sink.deliver(**who, limit=9))
    assert (entry.claim, entry.data) == (None, b"")


def test_a_removing_read_removes_what_was_fetched(queue: Queue) -> None:
    name, _ = bring(queue, lambda body: queue.sink.append(body, request_id="r1"))
    queue.run(queue.sink.append(b"small", request_id="r2"))
    assert len(queue.run(queue.sink.get(limit=2, remove=True)).entries) == 2
    assert queue.run(queue.sink.count()) == 2, "nothing goes before the large one was fetched"
    for index in (1, 2):
        call = queue.sink.get(start=index, remove=True, fetched=True)
        assert len(queue.run(call).entries) == 1
        assert queue.run(call).entries == ()
    assert gone(queue) == {name}


def test_a_lost_lease_wants_no_body(queue: Queue, bench: Bench, clock: Clock) -> None:
    bench.put()
    task = bench.begin()
    claim = new_claim()
    with pytest.raises(ClaimWantedError):
        queue.run(queue.tasks.finish(task, claim))
    clock.advance(11)
    queue.run(queue.tasks.reap(reaper="r", max_delivery=3))
    for body in (new_claim(), replace(claim, brought=True)):
        with pytest.raises(LeaseLostError):
            queue.run(queue.tasks.finish(task, body))
    assert announced(queue) == {claim.name}
    assert queue.run(queue.claims.drop(claim.name)) is True


def test_a_failure_is_noted_once_although_it_takes_two_calls(queue: Queue, bench: Bench) -> None:
    bench.put()
    task = bench.begin()

    def fail(body: object) -> object:
        return queue.tasks.fail(task, error="broken", data=body, max_delivery=1)  # type: ignore[arg-type]

    name, failed = bring(queue, fail)  # type: ignore[arg-type]
    assert failed.dead
    letter = queue.run(queue.dead.show("1"))
    assert letter is not None
    assert letter.errors == ("delivery 1 on w1: broken",)
    (entry,) = queue.run(queue.sink.get()).entries
    assert entry.claim == Claim(name, SIZE, brought=True)


def test_a_failure_that_is_retried_wants_no_body(queue: Queue, bench: Bench) -> None:
    bench.put()
    task = bench.begin()
    queue.run(queue.tasks.fail(task, error="broken", data=new_claim(), max_delivery=2))
    assert (announced(queue), bench.waiting()) == (set(), 1)


def test_a_dead_letter_keeps_its_claim_there_and_back(queue: Queue, bench: Bench) -> None:
    name = put_claim(bench, "r", max_bytes=0)
    task = bench.begin()
    queue.run(queue.tasks.fail(task, error="e", data=b"dead", max_delivery=1))
    letter = queue.run(queue.dead.show("r"))
    assert letter is not None
    assert letter.claim == Claim(name, SIZE, brought=True)
    assert (held(queue), gone(queue)) == ([name], set())
    with pytest.raises(QueueFullError):
        queue.run(queue.dead.requeue("r", max_bytes=SIZE))
    queue.run(queue.dead.requeue("r", max_bytes=SIZE + 100))
    assert (held(queue), gone(queue)) == ([name], set())
    assert bench.take().claim == Claim(name, SIZE, brought=True)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_reply_lives_until_it_was_fetched_or_has_expired(
    queue: Queue, bench: Bench, clock: Clock, keyed: bool
) -> None:
    once = Once("u", "k", "p") if keyed else None
    queue.run(queue.tasks.put(b"x", request_id="r", reply=Reply.DIRECT, once=once))
    name = finish_claim(queue, bench.begin())
    for _ in range(2):
        reply = queue.run(queue.tasks.take_reply("r"))
        assert reply is not None
        assert reply.claim == Claim(name, SIZE, brought=True)
    assert queue.run(queue.claims.sweep(grace_ms=0)) == ()
    queue.run(queue.tasks.take_reply("r", fetched=True))
    assert (queue.run(queue.tasks.take_reply("r")) is not None) == keyed
    assert queue.run(queue.claims.sweep(grace_ms=0)) == (() if keyed else (name,))
    clock.advance(600)
    assert queue.run(queue.claims.sweep(grace_ms=0)) == (name,)


def test_a_reply_that_nobody_takes_is_swept_after_it_expired(
    queue: Queue, bench: Bench, clock: Clock
) -> None:
    bench.put(reply=Reply.DIRECT)
    name = finish_claim(queue, bench.begin())
    clock.advance(599)
    assert queue.run(queue.claims.sweep(grace_ms=0)) == ()
    clock.advance(1)
    assert queue.run(queue.claims.sweep(grace_ms=0)) == (name,)
