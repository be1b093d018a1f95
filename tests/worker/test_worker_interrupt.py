"""An interrupt or a skip is heard at once, by the one job that it is for; previews are sent beside it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_queue import MAX_PREVIEW_BYTES, Reply, Task
from easel_worker.job import Job, JobStoppedError, StopReason
from easel_worker.previews import PreviewImage, encode

LONG = {"sleep_s": 3600, "steps": 2}
PROMPT_S = 10.0
"""Far below the lease's renewal and the step's length, by which the news would come otherwise."""


@pytest.mark.parametrize("what", ["interrupt", "skip"])
def test_the_addressed_job_ends_at_once_with_a_result_and_the_others_go_on(
    scene: Any, local_worker: Callable[..., Any], what: str
) -> None:
    for _ in range(2):
        local_worker(scene, prefetch=0, lease_s=3000)
    meant, other = scene.put(LONG), scene.put(LONG)
    for task in (meant, other):
        scene.wait(task, "running")
    waiting = scene.put({"sleep_s": 0.01, "then": "nothing"})
    began = time.monotonic()

    scene.run(getattr(scene.queue.tasks, what)(meant))
    scene.run(getattr(scene.queue.tasks, what)(waiting))

    assert b"3600" in scene.result(meant).data
    assert time.monotonic() - began < PROMPT_S
    assert "lastCode" not in scene.result(meant).tags, "it is a success"
    assert b"nothing" in scene.result(waiting).data, "the worker goes on"
    assert scene.status(other).state.value == "running"
    scene.run(scene.queue.tasks.cancel(request_id=other, data=b""))
    scene.result(other)


def test_a_lost_message_is_made_up_for_by_the_next_renewal(
    scene: Any, local_worker: Callable[..., Any]
) -> None:
    worker = local_worker(scene, lease_s=1)
    task = scene.put(LONG)
    scene.wait(task, "running")
    scene.redis.hset(scene.queue.keys.of("in", f"e:{scene.status(task).index}"), "interrupt", 1)
    assert b"3600" in scene.result(task).data
    assert worker.stats.snapshot()["done"] == 1


def job() -> Job:
    return Job(Task(1, "r", 1, {}, {}, b"", 0, 0, 1, 0, Reply.SINK))


def test_a_skip_is_taken_once_however_often_it_is_heard() -> None:
    running = job()
    assert not running.take_skip()
    assert running.skip(1)
    assert not running.skip(1), "the renewal's word for the same"
    assert running.skip_wanted
    assert running.take_skip()
    assert not running.take_skip()
    assert running.skip(2)
    assert running.take_skip()


def test_an_interrupt_ends_a_wait_and_a_stop_is_stronger() -> None:
    running = job()
    assert running.interrupt()
    assert not running.interrupt()
    began = time.monotonic()
    running.wait(60)
    assert time.monotonic() - began < PROMPT_S
    running.stop(StopReason.CANCELLED)
    with pytest.raises(JobStoppedError):
        running.wait(60)


def test_a_taken_skip_lets_the_job_sleep_again() -> None:
    running = job()
    running.skip(1)
    running.take_skip()
    began = time.monotonic()
    running.wait(0.05)
    assert time.monotonic() - began >= 0.04


def test_a_preview_of_the_running_task_can_be_seen(
    scene: Any, local_worker: Callable[..., Any], gate: Any
) -> None:
    local_worker(scene, handlers="breaking_handlers:PreviewHandler")
    task = scene.put(b"webp", path="/preview")
    scene.wait(task, "preview")
    shown = scene.run(scene.queue.tasks.show_preview(task))
    assert shown.media_type == "image/webp"
    picture = Image.open(io.BytesIO(shown.data))
    assert (picture.size, picture.format) == ((24, 16), "WEBP")
    gate.gate.set()
    scene.result(task)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_each_format_keeps_the_picture(kind: Any) -> None:
    rgb = np.zeros((40, 80, 3), np.uint8)
    rgb[:, 40:] = (250, 20, 20)
    media_type, data = encode(PreviewImage(rgb, kind))
    picture = Image.open(io.BytesIO(data))
    assert media_type == f"image/{kind}" == picture.get_format_mimetype()
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - rgb)[:, [5, 75]].max() < 8


def test_a_large_preview_is_made_small_enough() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 1200, 3), np.uint8)
    media_type, data = encode(PreviewImage(noise))
    assert media_type == "image/jpeg", "as a PNG it would be larger than a preview may be"
    assert len(data) <= MAX_PREVIEW_BYTES
    assert Image.open(io.BytesIO(data)).size == (512, 256)
