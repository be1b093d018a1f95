"""A worker takes tasks that can be rendered in one batch together, and each stays a task of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from breaking_handlers import BatchHandler

from easel_queue import Kin, Origin, State

HANDLER = "breaking_handlers:BatchHandler"


@pytest.fixture
def batches() -> Iterator[type[BatchHandler]]:
    BatchHandler.reset()
    yield BatchHandler
    BatchHandler.gate.set()


def put(scene: Any, body: bytes, kin: str = "alike") -> str:
    rid = f"r{body.decode()}-{kin}-{len(scene.queue.run(scene.queue.tasks.waiting()).tasks)}"
    call = scene.queue.tasks.put(
        body, request_id=rid, meta={"path": "/batch"}, origin=Origin(rid), kin=Kin(batch=kin)
    )
    scene.run(call)
    return rid


def started(scene: Any, local_worker: Callable[..., Any], *bodies: bytes, **settings: Any) -> list[str]:
    """Tasks of one batch that wait before a worker begins."""
    rids = [put(scene, body) for body in bodies]
    local_worker(scene, handlers=HANDLER, **{"batch_tasks": 4, "prefetch": 0, "max_delivery": 1, **settings})
    assert BatchHandler.began.wait(60)
    return rids


def test_tasks_of_one_kind_are_rendered_at_once_and_answered_each(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    rids = [put(scene, b"a"), put(scene, b"b"), put(scene, b"other", kin="unlike"), put(scene, b"c")]
    local_worker(scene, handlers=HANDLER, batch_tasks=4)
    batches.gate.set()

    assert [scene.result(rid).data for rid in rids] == [b"a", b"b", b"other", b"c"]
    assert batches.noted == [[b"a", b"b", b"c"], [b"other"]]


def test_no_more_at_once_than_the_setting_and_one_by_default(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    rids = started(scene, local_worker, b"a", b"b", b"c", batch_tasks=2)
    batches.gate.set()
    for rid in rids:
        scene.result(rid)
    assert batches.noted == [[b"a", b"b"], [b"c"]]

    batches.noted.clear()
    plain = local_worker(scene, handlers=HANDLER)
    assert plain.settings.batch_tasks == 1


def test_a_cancel_is_for_one_task_of_the_batch(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    first, second = started(scene, local_worker, b"a", b"b")
    scene.run(scene.queue.tasks.cancel(request_id=second, data=b"cancelled"))
    assert batches.heard.wait(60)
    batches.gate.set()

    assert scene.result(first).data == b"a"
    assert scene.result(second).tags["lastCode"] == "499"
    assert batches.noted == [[b"a", b"b"]]


def test_who_breaks_a_batch_fails_alone(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    batches.gate.set()
    good, bad = started(scene, local_worker, b"a", b"break")

    assert scene.result(good).data == b"a"
    assert scene.result(bad).tags["lastCode"] == "500"
    assert batches.noted == [[b"a", b"break"], [b"a"], [b"break"]]


def test_one_that_has_to_be_alone_is_rendered_after_the_batch(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    batches.gate.set()
    rids = started(scene, local_worker, b"a", b"alone")
    assert [scene.result(rid).data for rid in rids] == [b"a", b"alone"]
    assert batches.noted == [[b"a", b"alone"], [b"alone"]]


def test_a_drain_gives_back_the_whole_batch_that_takes_too_long(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    rids = [put(scene, body) for body in (b"a", b"b")]
    worker = local_worker(scene, handlers=HANDLER, batch_tasks=4, prefetch=0, drain_s=0.0)
    assert batches.began.wait(60)

    assert worker.worker.drain()
    assert [scene.status(rid).state for rid in rids] == [State.WAITING] * 2
    assert [scene.status(rid).deliveries for rid in rids] == [0, 0]


def test_a_prefetched_batch_is_given_back_whole(
    scene: Any, local_worker: Callable[..., Any], batches: type[BatchHandler]
) -> None:
    rids = [put(scene, body, kin) for body, kin in ((b"first", "unlike"), (b"a", "alike"), (b"b", "alike"))]
    worker = local_worker(scene, handlers=HANDLER, batch_tasks=4, prefetch=1)
    scene.until(lambda: [scene.status(rid).state for rid in rids[1:]] == [State.RESERVED] * 2)
    with ThreadPoolExecutor() as pool:
        drained = pool.submit(worker.worker.drain)
        scene.until(lambda: [scene.status(rid).state for rid in rids[1:]] == [State.WAITING] * 2)
        batches.gate.set()
        assert drained.result(60)
    assert scene.result(rids[0]).data == b"first"
