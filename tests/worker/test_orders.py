"""Orders for a whole worker, and what it tells of its memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from easel_contract.checkpoints import STARTER
from easel_worker.memory_report import memory_report
from easel_worker.models import starter

OBEDIENT = "breaking_handlers:ObedientHandler"
WAIT_S = 60


@pytest.fixture
def obedient() -> Iterator[Any]:
    from breaking_handlers import ObedientHandler

    ObedientHandler.gate.clear()
    ObedientHandler.reloaded.clear()
    ObedientHandler.noted.clear()
    yield ObedientHandler
    ObedientHandler.gate.set()


def test_orders_wait_for_the_running_task_and_a_failing_one_stops_nothing(
    scene: Any, local_worker: Callable[..., Any], obedient: Any
) -> None:
    worker = local_worker(scene, handlers=OBEDIENT)
    scene.until(lambda: bool(scene.run(scene.queue.tasks.workers())))
    request_id = scene.put(b"body", path="/obey")
    scene.until(lambda: worker.stats.current is not None)
    for order in ("unload", "unload", "reload My model", "nonsense"):
        assert scene.run(scene.queue.tasks.tell_workers(order)) == 1
    # An inbox is read in order, so what lies behind the orders tells that they were read.
    inbox = scene.queue.keys.inbox(worker.settings.worker_id)
    scene.until(lambda: not scene.redis.exists(inbox))
    obedient.gate.set()
    assert scene.result(request_id).data == b"body"
    assert obedient.reloaded.wait(WAIT_S)
    assert obedient.noted == ["task", "unload", "reload My model"], "an order that waits is not repeated"
    assert scene.result(scene.put(b"next", path="/obey")).data == b"next"


def test_an_idle_worker_obeys_at_once(scene: Any, local_worker: Callable[..., Any], obedient: Any) -> None:
    local_worker(scene, handlers=OBEDIENT)
    scene.until(lambda: bool(scene.run(scene.queue.tasks.workers())))
    scene.run(scene.queue.tasks.tell_workers("reload"))
    assert obedient.reloaded.wait(WAIT_S)


def test_heartbeats_tell_the_memory(scene: Any, local_worker: Callable[..., Any]) -> None:
    local_worker(scene)
    scene.until(lambda: bool(scene.run(scene.queue.tasks.workers())))
    (worker,) = scene.run(scene.queue.tasks.workers())
    ram = worker.info["memory"]["ram"]
    assert ram["used"] + ram["free"] == ram["total"]
    assert 10 * 2**20 < ram["used"] < ram["total"]
    assert ram["total"] <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_worker_on_the_cpu_tells_of_no_device() -> None:
    assert "cuda" not in memory_report("cpu")


def test_the_contract_knows_the_starter_by_its_name() -> None:
    assert STARTER == starter.NAME


def test_a_rendering_worker_drops_its_checkpoint_and_loads_it_again(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    local_worker(scene, handlers="easel_worker.handlers.generation:GenerationHandler", heartbeat_s=1.0)

    def loaded() -> list[str]:
        workers = scene.run(scene.queue.tasks.workers())
        return [name for worker in workers for name in worker.info["checkpoints"]]

    scene.until(lambda: loaded() == [STARTER])
    scene.run(scene.queue.tasks.tell_workers("unload"))
    scene.until(lambda: loaded() == [])
    scene.run(scene.queue.tasks.tell_workers("reload"))
    scene.until(lambda: loaded() == [STARTER])
    scene.run(scene.queue.tasks.tell_workers("unload"))
    request = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}
    assert scene.result(scene.put(request, path="/sdapi/v1/txt2img")).tags.get("lastCode", "200") == "200"
