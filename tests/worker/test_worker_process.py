"""The worker as a process: signals, kills, and a Redis that goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easel_queue import Queue, State


def test_sigterm_finishes_the_running_task_and_gives_back_the_prefetched_one(
    scene: Any, spawn: Callable[..., Any]
) -> None:
    worker = spawn(scene)
    worker.wait_log("is ready")
    running = scene.put({"sleep_s": 1.0, "steps": 10})
    scene.wait(running, "running")
    prefetched = scene.put(b"untouched")
    worker.wait_log(f"{prefetched}: reserved")

    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0, worker.log
    assert "lastCode" not in scene.result(running).tags
    status = scene.status(prefetched)
    assert (status.state, status.deliveries, status.worker) == (State.WAITING, 0, "")
    assert scene.results(prefetched) == ()
    spawn(scene)
    assert scene.result(prefetched).data == b"untouched"


def test_an_idle_worker_drains_at_once_and_leaves_the_list(scene: Any, spawn: Callable[..., Any]) -> None:
    worker = spawn(scene, worker_id="idle-one")
    worker.wait_log("idle-one is ready")

    worker.signal(signal.SIGINT)

    assert worker.wait() == 0, worker.log
    assert scene.run(scene.queue.tasks.workers()) == ()


def test_a_second_signal_ends_the_worker_at_once(scene: Any, spawn: Callable[..., Any]) -> None:
    worker = spawn(scene)
    running = scene.put({"sleep_s": 3000, "steps": 30_00})
    scene.wait(running, "progress")  # the handler runs: what only waits for it would be given back

    worker.signal(signal.SIGTERM)
    worker.wait_log("draining")
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 128 + signal.SIGTERM
    assert scene.status(running).state is State.RUNNING, "its lease is left to lapse"


def test_a_killed_workers_task_is_delivered_again_and_has_one_result(
    scene: Any, spawn: Callable[..., Any]
) -> None:
    worker = spawn(scene)
    request_id = scene.put({"sleep_s": 0.5, "steps": 50})
    scene.wait(request_id, "progress")

    worker.kill()
    # The lease of 30 s is over at once for a reaper whose clock is a minute ahead.
    ahead = Queue(scene.url, service=scene.service, clock=lambda: int(time.time() * 1000) + 60_000)
    reaped = ahead.run(ahead.tasks.reap(reaper="test", max_delivery=2))
    ahead.close()
    assert (reaped.requeued, reaped.exhausted) == (1, ())
    second = spawn(scene)

    scene.result(request_id)
    second.signal(signal.SIGTERM)
    assert second.wait() == 0
    assert len(scene.results(request_id)) == 1
    assert len([e for e in scene.events(request_id) if e["s"] == "running"]) == 2


def test_a_finished_result_survives_the_death_of_redis(
    own_redis: Any, open_scene: Callable[..., Any], spawn: Callable[..., Any]
) -> None:
    service = f"restart-{uuid.uuid4().hex[:8]}"
    before = open_scene(own_redis.url, service)
    worker = spawn(before)
    first = before.put({"sleep_s": 0.5, "steps": 2})
    second = before.put(b"second")
    before.wait(first, "progress")

    own_redis.kill()
    worker.wait_log("Redis is away")
    own_redis.start()
    worker.wait_log("Redis is back")

    after = open_scene(own_redis.url, service)
    for request_id in (first, second):
        if not after.results(request_id):
            after.wait(request_id, "done")
        [entry] = after.results(request_id)
        assert "lastCode" not in entry.tags
    assert len([line for line in worker.log if "Redis is away" in line]) == 1, "said once"
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_wrong_settings_are_named_and_end_the_worker(scene: Any, spawn: Callable[..., Any]) -> None:
    for settings, said in (
        ({"prefetch": -1}, "EASEL_PREFETCH"),
        ({"handlers": "nonsense"}, "EASEL_HANDLERS"),
        ({"handlers": "no.such.module:Handler"}, "EASEL_HANDLERS"),
        ({"handlers": "json:JSONDecoder"}, "EASEL_HANDLERS"),
        ({"redis_url": ""}, "EASEL_REDIS_URL"),
    ):
        worker = spawn(scene, **settings)
        assert worker.wait() == 2, worker.log
        assert said in "".join(worker.log)


def test_a_handler_that_cannot_start_ends_the_worker_with_the_reason(
    scene: Any, spawn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    worker = spawn(scene, handlers="breaking_handlers:BrokenSetupHandler")

    assert worker.wait() == 1
    assert "no such device" in "".join(worker.log)


def test_no_log_line_holds_the_redis_password(
    own_redis: Any, open_scene: Callable[..., Any], spawn: Callable[..., Any]
) -> None:
    scene = open_scene(own_redis.url, "secretive")
    worker = spawn(scene)
    worker.wait_log("is ready")
    own_redis.kill()
    worker.wait_log("Redis is away")
    worker.kill()

    assert own_redis.password not in "".join(worker.log)


def test_metrics_page_counts_the_tasks(scene: Any, spawn: Callable[..., Any]) -> None:
    from urllib.request import urlopen

    from easel_queue import embedded

    port = embedded.free_port()
    worker = spawn(scene, metrics_port=port)
    worker.wait_log("is ready")
    scene.result(scene.put(b"one"))
    refused = scene.put(b"two", path="/nowhere")
    scene.result(refused)
    worker.wait_log(f"{refused}: refused")

    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        page = answer.read().decode()

    assert 'easel_worker_tasks_total{outcome="done"} 1.0' in page
    assert "easel_worker_task_seconds_count 1.0" in page
    assert "easel_worker_torch_busy_seconds_total" in page


def test_doctor_prints_one_json_line_about_torch_and_the_models(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "Stable-diffusion" / "some-model"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    env = {name: value for name, value in os.environ.items() if not name.startswith("EASEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "easel_worker", "doctor"],
        env={**env, "EASEL_DATA_DIR": str(tmp_path), "EASEL_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    facts = json.loads(done.stdout)
    assert facts["device"] == "cpu"
    assert facts["dtype"] == "float32"
    assert facts["checkpoints"] == 1
    assert facts["model_dir"] == str(folder.parent)
    assert "torch" in facts
    assert "cuda_build" in facts
    assert "error" not in facts


def test_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "easel_worker", "doctor"],
        env={**os.environ, "EASEL_DATA_DIR": str(tmp_path), "EASEL_DEVICE": "abacus"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert "abacus" in json.loads(done.stdout)["error"]


def test_draining_with_redis_away_ends_after_one_lease(
    own_redis: Any, open_scene: Callable[..., Any], spawn: Callable[..., Any]
) -> None:
    scene = open_scene(own_redis.url, "away")
    worker = spawn(scene, lease_s=1.0)
    running = scene.put({"sleep_s": 3.0, "steps": 30})
    scene.wait(running, "running")
    prefetched = scene.put(b"untouched")
    worker.wait_log(f"{prefetched}: reserved")

    own_redis.kill()
    worker.wait_log("Redis is away")
    worker.signal(signal.SIGTERM)

    # The default drain_s is ten minutes, far beyond what this test waits.
    assert worker.wait() == 1, worker.log
    own_redis.start()
    after = open_scene(own_redis.url, "away")
    assert after.results(running) == ()
    assert after.status(prefetched).deliveries == 0, "accepted tasks are still there"
