"""Every way in which an item goes takes the claim of its body with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from easel_queue import Eviction, Queue

from .claiming import announced, gone, held, put_claim, result_claim
from .conftest import Bench


def _finished(bench: Bench) -> str:
    name = put_claim(bench, "r")
    bench.finish(bench.begin())
    return name


def _cancelled(bench: Bench) -> str:
    name = put_claim(bench, "r")
    bench.queue.run(bench.queue.tasks.cancel(request_id="r", data=b"c"))
    return name


def _dead_and_dropped(bench: Bench) -> str:
    name = put_claim(bench, "r")
    task = bench.begin()
    bench.queue.run(bench.queue.tasks.fail(task, error="e", data=b"d", max_delivery=1, rear=False))
    return name


def _letter(bench: Bench) -> str:
    name = put_claim(bench, "r")
    bench.queue.run(bench.queue.tasks.fail(bench.begin(), error="e", data=b"d", max_delivery=1))
    return name


def _letter_deleted(bench: Bench) -> str:
    name = _letter(bench)
    bench.queue.run(bench.queue.rear.delete([1]))
    return name


def _letters_purged(bench: Bench) -> str:
    name = _letter(bench)
    bench.queue.run(bench.queue.rear.truncate(2))
    return name


def _watched(bench: Bench, name: str) -> str:
    who = {"group": "g", "uid": "u", "connection": "c"}
    stream = bench.queue.source
    bench.queue.run(stream.join(**who, window=5))
    bench.queue.run(stream.deliver(**who, limit=5))
    return name


def _rejected_and_dropped(bench: Bench) -> str:
    name = _watched(bench, put_claim(bench, "r"))
    call = bench.queue.source.reject(
        [1], group="g", uid="u", call_id="1", error="e", max_delivery=1, data=b"d", rear=False
    )
    assert bench.queue.run(call).given_up == 1
    return name


def _task_committed(bench: Bench) -> str:
    name = _watched(bench, put_claim(bench, "r"))
    bench.queue.run(bench.queue.source.commit([1], group="g"))
    return name


def _task_deleted(bench: Bench) -> str:
    name = put_claim(bench, "r")
    bench.queue.run(bench.queue.source.delete([1]))
    return name


def _task_evicted(bench: Bench) -> str:
    name = put_claim(bench, "r")
    call = bench.queue.tasks.put(b"new", request_id="n", max_length=1, evict=Eviction(b"gone"))
    bench.queue.run(call)
    return name


def _forced_out(bench: Bench) -> str:
    name = put_claim(bench, "r")
    bench.queue.run(bench.queue.source.end(force=True))
    return name


def _result_committed(bench: Bench) -> str:
    name = result_claim(bench)
    bench.queue.run(bench.queue.sink.join(group="g", uid="u", connection="c", window=5))
    bench.queue.run(bench.queue.sink.commit([1], group="g"))
    return name


def _result_truncated(bench: Bench) -> str:
    name = result_claim(bench)
    bench.queue.run(bench.queue.sink.truncate(2))
    return name


def _result_read(bench: Bench) -> str:
    name = result_claim(bench)
    bench.queue.run(bench.queue.sink.get(start=1, remove=True, fetched=True))
    return name


def _result_evicted_by_a_put(bench: Bench) -> str:
    name = result_claim(bench)
    bench.queue.run(bench.queue.sink.append(b"x", request_id="n", max_length=1, evict=True))
    return name


def _result_evicted_by_a_worker(bench: Bench) -> str:
    name = result_claim(bench)
    bench.put()
    call = bench.queue.tasks.reserve(worker="w", lease_ms=9, sink_max_length=1, sink_evict=True)
    assert bench.queue.run(call) is not None
    return name


def _group_forgotten(bench: Bench) -> str:
    name, sink = result_claim(bench), bench.queue.sink

    def join(group: str) -> None:
        bench.queue.run(sink.join(group=group, uid="u", connection="c", window=5, ttl_ms=1000))

    join("g1")
    join("g2")
    bench.queue.run(sink.commit([1], group="g1"))
    for hours in (1, 2, 24):
        bench.clock.advance(hours * 3600)
        join("g1")
        bench.queue.run(sink.sweep())
    return name


@pytest.mark.parametrize(
    "path",
    [
        _finished,
        _cancelled,
        _dead_and_dropped,
        _letter_deleted,
        _letters_purged,
        _rejected_and_dropped,
        _task_committed,
        _task_deleted,
        _task_evicted,
        _forced_out,
        _result_committed,
        _result_truncated,
        _result_read,
        _result_evicted_by_a_put,
        _result_evicted_by_a_worker,
        _group_forgotten,
    ],
)
def test_a_claim_is_gone_with_its_item(queue: Queue, bench: Bench, path: Callable[[Bench], str]) -> None:
    name = path(bench)
    assert (held(queue), gone(queue), announced(queue)) == ([], {name}, set())
