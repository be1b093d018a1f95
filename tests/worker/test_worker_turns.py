"""What the worker's settings and its loaded models do to whose task it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from easel_queue import Kin, Origin, State
from easel_worker.handlers.generation import GenerationHandler
from easel_worker.models.starter import NAME
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats


def put(scene: Any, rid: str, user: str, *needs: str) -> str:
    call = scene.queue.tasks.put(
        b"x", request_id=rid, meta={"path": "/gate"}, origin=Origin(user), kin=Kin(models=needs)
    )
    scene.run(call)
    return rid


def test_ordered_holds_between_workers(scene: Any, local_worker: Callable[..., Any], gate: Any) -> None:
    for _ in range(2):
        local_worker(scene, handlers="breaking_handlers:GateHandler", ordered=True, prefetch=0)
    first, second, other = put(scene, "a1", "a"), put(scene, "a2", "a"), put(scene, "b1", "b")

    scene.wait(first, "running")
    scene.wait(other, "running")  # the second worker has it, and asked in vain for more
    assert scene.status(second).state is State.WAITING
    gate.gate.set()

    assert scene.result(second).data == b"x"
    assert scene.result(first).index < scene.result(second).index


def test_a_worker_takes_first_what_it_has_the_model_for(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    local_worker(scene, handlers="breaking_handlers:WarmGateHandler", prefetch=0)
    running = put(scene, "r", "r")
    scene.wait(running, "running")
    cold, warm = put(scene, "c", "c", "checkpoint:cold"), put(scene, "w", "w", "checkpoint:warm")
    gate.gate.set()

    assert scene.result(warm).index < scene.result(cold).index


def test_a_bypass_of_none_keeps_the_order(scene: Any, local_worker: Callable[..., Any], gate: Any) -> None:
    local_worker(scene, handlers="breaking_handlers:WarmGateHandler", prefetch=0, affinity_bypass=0)
    running = put(scene, "r", "r")
    scene.wait(running, "running")
    cold, warm = put(scene, "c", "c", "checkpoint:cold"), put(scene, "w", "w", "checkpoint:warm")
    gate.gate.set()

    assert scene.result(cold).index < scene.result(warm).index


def test_the_loaded_checkpoint_is_at_hand_by_its_name_and_as_the_default(tmp_path: Path) -> None:
    settings = WorkerSettings(data_dir=tmp_path, torch_threads=1, device="cpu")
    handler = GenerationHandler(settings, Stats(CollectorRegistry()))
    assert list(handler.at_hand()) == []
    handler.setup()
    assert list(handler.at_hand()) == [f"checkpoint:{NAME}", "checkpoint:"]

    folder = settings.checkpoint_dir / "bigger"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    assert list(handler.at_hand()) == [f"checkpoint:{NAME}"], "another one is the default now"
