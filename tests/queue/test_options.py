"""A service's options: shared, replaced as a whole, and copied into every task when it is put."""

from __future__ import annotations

import threading

from easel_queue import AsyncQueue, EventHub, Queue, StoredOptions
from easel_queue.options_calls import CHANNEL

from .conftest import Bench

FIRST = {"eta_ddim": 0.5, "outdir_samples": 'a/b "c"\\d', "hide_samplers": ["PLMS", "ü"], "tiling": False}


def test_nothing_is_set_at_first(queue: Queue) -> None:
    assert queue.run(queue.options.read()) == StoredOptions({}, "")


def test_what_is_replaced_is_read_as_it_was(queue: Queue) -> None:
    assert queue.run(queue.options.replace(StoredOptions({}), FIRST))
    stored = queue.run(queue.options.read())
    assert stored.values == FIRST
    assert queue.run(queue.options.replace(stored, {}))
    assert queue.run(queue.options.read()) == StoredOptions({})
    assert not queue._redis.exists(queue.keys.options), "defaults take no room"


def test_a_replacement_of_what_is_not_there_any_more_changes_nothing(queue: Queue) -> None:
    before = queue.run(queue.options.read())
    assert queue.run(queue.options.replace(before, {"n_rows": 2}))
    assert not queue.run(queue.options.replace(before, {"n_rows": 3}))
    assert queue.run(queue.options.read()).values == {"n_rows": 2}


def test_of_concurrent_changes_of_different_options_none_is_lost(queue: Queue) -> None:
    def change(key: str) -> None:
        while True:
            old = queue.run(queue.options.read())
            if queue.run(queue.options.replace(old, {**old.values, key: True})):
                return

    threads = [threading.Thread(target=change, args=(f"key{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert queue.run(queue.options.read()).values == {f"key{number}": True for number in range(8)}


def test_a_task_has_the_options_of_the_moment_at_which_it_was_put(queue: Queue, bench: Bench) -> None:
    bench.put()
    queue.run(queue.options.replace(StoredOptions({}), FIRST))
    bench.put()
    queue.run(queue.options.replace(queue.run(queue.options.read()), {"n_rows": 2}))
    queue.run(
        queue.tasks.put(
            b"", request_id="no meta", tags={}, meta={}
        )  # the object that it is put into is empty
    )
    first, second, third = bench.begin(), bench.begin(), bench.begin()
    assert (first.options, first.meta) == ({}, {"path": "/p"})
    assert second.options == FIRST
    assert second.meta["path"] == "/p"
    assert third.options == {"n_rows": 2}


def test_a_dead_task_that_is_requeued_keeps_its_options(queue: Queue, bench: Bench) -> None:
    queue.run(queue.options.replace(StoredOptions({}), FIRST))
    placed = bench.put()
    task = bench.begin()
    queue.run(queue.tasks.fail(task, error="no", data=b"", max_delivery=1))
    queue.run(queue.options.replace(queue.run(queue.options.read()), {}))
    queue.run(queue.dead.requeue(placed.request_id))
    assert bench.begin().options == FIRST


async def test_every_gateway_hears_that_options_changed(aqueue: AsyncQueue, hub: EventHub) -> None:
    with hub.on_queue(CHANNEL) as signal:
        await aqueue.run(aqueue.options.replace(StoredOptions({}), {"n_rows": 2}))
        assert await signal.wait(20)


def test_a_message_reaches_every_living_worker_and_no_other(queue: Queue) -> None:
    for worker in ("one", "two"):
        queue.run(queue.tasks.heartbeat(worker, {}))
    queue._redis.zadd(queue.keys.workers, {"gone": 1})
    assert queue.run(queue.tasks.tell_workers("do unload")) == 2
    assert queue.wait_inbox("one", 5) == "do unload"
    assert queue.wait_inbox("two", 5) == "do unload"
    assert not queue._redis.exists(queue.keys.inbox("gone"))
