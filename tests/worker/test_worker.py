"""A whole worker against a real Redis: what comes out of the queue for what was put in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from easel_queue import CancelOutcome, Queue, State

ECHO_AND = "easel_worker.handlers.echo:EchoHandler,breaking_handlers:"


def code(entry: Any) -> int:
    return int(entry.tags.get("lastCode", "200"))


def test_a_result_arrives_in_the_sink_with_the_tasks_tags(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    local_worker(scene)
    request_id = scene.put(b"hello", task_id="t1")

    entry = scene.result(request_id)

    assert entry.data == b"hello"
    assert entry.tags == {"task_id": "t1", "requestId": request_id}


def test_many_tasks_each_have_one_result(scene: Any, local_worker: Callable[..., Any]) -> None:
    local_worker(scene)
    ids = [scene.put(f"body {i}".encode()) for i in range(20)]

    for i, request_id in enumerate(ids):
        assert scene.result(request_id).data == f"body {i}".encode()
    assert scene.run(scene.queue.sink.count()) == 20


def test_progress_is_published_and_the_last_snapshot_says_all(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    local_worker(scene)
    request_id = scene.put({"sleep_s": 0.5, "steps": 50})

    first = scene.wait(request_id, "progress")["p"]
    scene.result(request_id)

    snapshots = [e["p"] for e in scene.events(request_id) if e["s"] == "progress"]
    assert first["steps"] == 50
    assert 0 < first["step"] < 50
    assert snapshots[-1]["step"] == 50
    assert snapshots[-1]["ratio"] == 1.0
    # 50 steps in half a second are at most one snapshot every 100 ms, the first and the last.
    assert 2 <= len(snapshots) <= 9


def test_unknown_paths_and_bad_values_are_told_once_and_the_worker_goes_on(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    local_worker(scene)
    nowhere = scene.put(b"{}", path="/nowhere")
    minus = scene.put({"sleep_s": -1})
    text = scene.put({"sleep_s": "long"})
    nan = scene.put(b'{"sleep_s": NaN}')
    good = scene.put(b"still here")

    assert code(scene.result(nowhere)) == 404
    for request_id in (minus, text, nan):
        entry = scene.result(request_id)
        body = json.loads(entry.data)
        assert code(entry) == 422
        assert body["parameters"]["status"] == 422
        assert "sleep_s" in body["parameters"]["error_msg"]
        assert body["detail"] == body["parameters"]["error_msg"]
    assert scene.result(good).data == b"still here"
    assert scene.run(scene.queue.rear.count()) == 0, "the client's mistakes are no dead letters"


def test_cancel_stops_the_running_task_and_only_it(scene: Any, local_worker: Callable[..., Any]) -> None:
    local_worker(scene)
    long = scene.put({"sleep_s": 3600, "steps": 36_00})
    scene.wait(long, "running")
    short = scene.put(b"next")
    began = time.monotonic()

    outcome = scene.run(scene.queue.tasks.cancel(request_id=long, data=b""))

    assert outcome is CancelOutcome.STOPPING
    entry = scene.result(long)
    assert time.monotonic() - began < 10, "a cancel is heard at the next step, not at the next lease"
    assert code(entry) == 499
    assert scene.status(long).state is State.CANCELLED
    assert scene.result(short).data == b"next"


def test_cancel_of_a_prefetched_task_leaves_the_running_one(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    local_worker(scene, handlers=ECHO_AND + "GateHandler")
    running = scene.put(b"runs", path="/gate")
    assert gate.began.wait(60)
    prefetched = scene.put(b"waits")

    outcome = scene.run(
        scene.queue.tasks.cancel(request_id=prefetched, data=b"gone", tags={"lastCode": "499"})
    )
    gate.gate.set()

    assert outcome is CancelOutcome.CANCELLED
    assert scene.result(prefetched).data == b"gone"
    assert scene.result(running).data == b"runs"


@pytest.mark.parametrize("stage", ["prepare", "run", "publish"])
def test_a_fault_is_retried_until_max_delivery_and_then_a_dead_letter(
    scene: Any, local_worker: Callable[..., Any], stage: str
) -> None:
    local_worker(scene, handlers=ECHO_AND + "BreakingHandler", max_delivery=2)
    request_id = scene.put(b"runtime", path=f"/break/{stage}")
    after = scene.put(b"fine", path=f"/break/{stage}")

    entry = scene.result(request_id)

    assert code(entry) == 500
    assert "a bolt came loose" in json.loads(entry.data)["parameters"]["error_msg"]
    assert json.loads(entry.data)["error"] == "RuntimeError"
    assert scene.status(request_id).state is State.DEAD
    assert len([e for e in scene.events(request_id) if e["s"] == "running"]) == 2
    assert scene.run(scene.queue.rear.count()) == 1
    assert scene.result(after).data.startswith(b"fine")


def test_the_policy_drop_keeps_no_dead_letter(scene: Any, local_worker: Callable[..., Any]) -> None:
    how = {"max_delivery": 1, "dead_message_policy": "Drop"}
    local_worker(scene, handlers=ECHO_AND + "BreakingHandler", **how)
    request_id = scene.put(b"runtime", path="/break/run")

    assert code(scene.result(request_id)) == 500
    assert scene.status(request_id).state is State.DEAD
    assert scene.run(scene.queue.rear.count()) == 0


def test_a_full_sink_that_evicts_stops_no_worker(scene: Any, local_worker: Callable[..., Any]) -> None:
    local_worker(scene, sink_max_length=1, queue_sink_auto_evict=True)
    for number in range(3):
        request_id = scene.put(b"%d" % number)
        assert scene.result(request_id).data == b"%d" % number
    assert scene.run(scene.queue.sink.count()) == 1


def test_out_of_memory_frees_memory_says_what_to_lower_and_the_worker_goes_on(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    worker = local_worker(scene, handlers=ECHO_AND + "BreakingHandler", max_delivery=1)
    request_id = scene.put(b"memory", path="/break/run")
    after = scene.put(b"fine", path="/break/run")

    entry = scene.result(request_id)

    assert code(entry) == 500
    assert "lower width" in json.loads(entry.data)["parameters"]["error_msg"]
    assert scene.result(after).data == b"fine"
    [breaking] = [h for h in worker.registry if type(h).__name__ == "BreakingHandler"]
    assert breaking.freed == 1


def test_endless_recursion_in_a_handler_fails_its_task_only(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    local_worker(scene, handlers=ECHO_AND + "BreakingHandler", max_delivery=1)
    request_id = scene.put(b"recursion", path="/break/run")
    after = scene.put(b"fine")

    assert json.loads(scene.result(request_id).data)["error"] == "RecursionError"
    assert scene.result(after).data == b"fine"


def reap_a_minute_ahead(scene: Any, **limits: int) -> int:
    """How many tasks somebody whose clock is a minute ahead has put back into the line."""
    ahead = Queue(scene.url, service=scene.service, clock=lambda: int(time.time() * 1000) + 60_000)
    reaped = ahead.run(ahead.tasks.reap(reaper="test", max_delivery=9, **limits))
    ahead.close()
    return reaped.requeued


def test_a_lost_lease_stops_the_job_and_drops_its_result(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    first = local_worker(scene, handlers="breaking_handlers:GateHandler", lease_s=1.0, prefetch=0)
    request_id = scene.put(b"once", path="/gate")
    assert gate.began.wait(60)
    gate.began.clear()

    # Somebody whose clock is a minute ahead declares the lease over: the task waits again.
    assert reap_a_minute_ahead(scene) == 1

    # The first delivery notices, drops its work, and the worker takes the task again.
    assert gate.began.wait(60)
    gate.gate.set()
    assert scene.result(request_id).data == b"once"
    first.worker.drain()
    assert len(scene.results(request_id)) == 1
    assert len([e for e in scene.events(request_id) if e["s"] == "running"]) == 2


def test_a_delivery_beyond_max_idle_stops_at_once_and_no_later_one_does(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    # A lease so long that only the message in the inbox can tell.
    worker = local_worker(scene, handlers="breaking_handlers:GateHandler", lease_s=3600, prefetch=0)
    request_id = scene.put(b"slow", path="/gate")
    assert gate.began.wait(60)
    gate.began.clear()

    # Somebody whose clock is a minute ahead finds that the delivery has taken too long.
    assert reap_a_minute_ahead(scene, max_idle_ms=30_000) == 1

    assert gate.began.wait(60), "the worker dropped its work and took the task again"
    gate.gate.set()
    assert scene.result(request_id).data == b"slow"
    worker.worker.drain()
    assert len(scene.results(request_id)) == 1
    assert len([e for e in scene.events(request_id) if e["s"] == "running"]) == 2


def test_the_lease_of_a_long_task_is_kept(scene: Any, local_worker: Callable[..., Any]) -> None:
    local_worker(scene, lease_s=1.0)
    request_id = scene.put({"sleep_s": 2.5, "steps": 5})
    scene.wait(request_id, "running")

    scene.result(request_id)

    assert len([e for e in scene.events(request_id) if e["s"] == "running"]) == 1
    assert scene.run(scene.queue.tasks.reap(reaper="test", max_delivery=9)).requeued == 0


def test_the_heartbeat_tells_what_the_worker_does(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    worker = local_worker(scene, handlers=ECHO_AND + "GateHandler")
    echoed = scene.put(b"one")
    scene.result(echoed)
    running = scene.put(b"x", path="/gate")
    assert gate.began.wait(60)

    info = worker.worker.heartbeat.info()
    gate.gate.set()
    scene.result(running)

    assert info["state"] == "rendering"
    assert info["task"] == running
    assert info["done"] == 1
    assert info["failed"] == 0
    assert 0 <= info["busy_s"] < info["up_s"]
    assert "/gate" in info["paths"]
    [seen] = scene.run(scene.queue.tasks.workers())
    assert seen.id == worker.settings.worker_id
    assert seen.info["version"] == info["version"]


def test_drain_gives_the_running_task_back_when_it_takes_too_long(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    worker = local_worker(scene, handlers="breaking_handlers:GateHandler", drain_s=0.0)
    request_id = scene.put(b"x", path="/gate")
    assert gate.began.wait(60)

    assert worker.worker.drain() is True

    status = scene.status(request_id)
    assert status.state is State.WAITING
    assert status.deliveries == 0
    assert scene.results(request_id) == ()
    assert scene.run(scene.queue.tasks.workers()) == (), "a worker that left is not listed any more"


def test_without_prefetch_nothing_is_reserved_beside_the_running_task(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    local_worker(scene, handlers="breaking_handlers:GateHandler", prefetch=0)
    running = scene.put(b"x", path="/gate")
    assert gate.began.wait(60)
    waiting = scene.put(b"y", path="/gate")

    local_worker(scene, handlers="breaking_handlers:GateHandler", prefetch=0)

    scene.wait(waiting, "running")  # on the other worker: the first is still busy
    assert scene.status(running).worker != scene.status(waiting).worker
    gate.gate.set()
    assert scene.result(running).data == b"x"
    assert scene.result(waiting).data == b"y"


def test_a_full_sink_stops_the_worker_until_there_is_room(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    local_worker(scene, sink_max_length=1)
    first = scene.put(b"1")
    scene.result(first)
    second = scene.put(b"2")
    # The worker answers the bell, finds the sink full, and goes back to waiting.
    scene.until(lambda: scene.redis.llen(scene.queue.keys.bell) == 0)
    assert scene.status(second).state is State.WAITING

    scene.run(scene.queue.sink.truncate(10))

    assert scene.result(second).data == b"2"
