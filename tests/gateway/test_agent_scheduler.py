"""The scheduler's API over the queue: every call of it, with a consumer in the worker's place."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel_contract.results import eas_result, error_result
from easel_queue import State, Task
from easel_store import Store, configured_store

from .conftest import Consumer, RunningGateway, StartGateway
from .scheduling import NOT_FOUND, ROOT, call, pending, submit


def picture(text: str) -> bytes:
    """A PNG with an infotext."""
    info = PngInfo()
    info.add_text("parameters", text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG", pnginfo=info)
    return file.getvalue()


def store_of(gateway: RunningGateway) -> Store:
    return configured_store(gateway.settings)


async def finish(gateway: RunningGateway, task: Task, *names: str) -> None:
    """What a worker does: pictures into the store, their paths into the result."""
    save_dir = json.loads(task.data)["alwayson_scripts"]["save_dir"]
    for name in names:
        key = f"{save_dir.removeprefix('/mnt/data/')}/{name}"
        await asyncio.to_thread(store_of(gateway).put, key, picture(f"cat {name}"), "image/png")
    result = eas_result(
        id_task=None,
        image_url=[f"{save_dir}/{name}" for name in names],
        seeds=[1] * len(names),
        total_time=1.0,
        hostname="h",
    )
    await gateway.queue.run(gateway.queue.tasks.finish(task, result.data, tags=result.tags))


async def test_a_task_from_its_submission_to_its_pictures(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    first = await submit(gateway)
    second = await submit(gateway, steps=7, checkpoint="shapes", vae="None", sampler_name="Euler a")
    page = await call(gateway, "GET", "/queue")
    assert [task["id"] for task in page["pending_tasks"]] == [first, second]
    assert (page["current_task_id"], page["total_pending_tasks"], page["paused"]) == (None, 2, False)
    shown = page["pending_tasks"][1]
    assert (shown["type"], shown["status"], shown["position"]) == ("txt2img", "pending", 2)
    assert shown["params"]["checkpoint"] == "shapes", "the params are what was sent"
    assert isinstance(shown["created_at"], int)
    for number, name in enumerate((first, second), start=1):
        answer = await call(gateway, "GET", f"/task/{name}/position")
        assert answer == {"success": True, "data": {"status": "pending", "position": number}}
    answer = await call(gateway, "GET", f"/task/{second}/results")
    assert answer == {"success": False, "message": "The task has no results; it is pending"}

    await finish(gateway, await consumer.begin(), "one.png")
    task = await consumer.begin()
    assert (await call(gateway, "GET", "/queue"))["current_task_id"] == second
    asked = json.loads(task.data)
    assert asked["override_settings"] == {"sd_model_checkpoint": "shapes", "sd_vae": "None"}
    assert (asked["save_images"], asked["send_images"], asked["steps"]) == (True, False, 7)
    assert "checkpoint" not in asked
    await finish(gateway, task, "grid.png", "two.png", "three.png")

    history = await call(gateway, "GET", "/history")
    assert [(task["id"], task["status"]) for task in history["tasks"]] == [(second, "done"), (first, "done")]
    assert history["total"] == 2
    data = (await call(gateway, "GET", f"/task/{second}"))["data"]
    assert data["result"]["images"] == ["outputs/grid.png", "outputs/two.png", "outputs/three.png"]
    answer = await call(gateway, "GET", f"/task/{second}/results")
    assert [image["infotext"] for image in answer["data"]] == ["cat grid.png", "cat two.png", "cat three.png"]
    prefix, _, encoded = answer["data"][1]["image"].partition(",")
    assert prefix == "data:image/png;base64"
    assert base64.b64decode(encoded) == picture("cat two.png")
    response = await gateway.client.get(f"{ROOT}/task/{second}/results?zip=true")
    assert response.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["grid.png", "two.png", "three.png"]
        assert archive.read("two.png") == picture("cat two.png")
    assert (await gateway.client.get(gateway.sink)).status_code == 204, "nothing of it is in the sink"


async def test_pictures_below_a_mount_are_found_and_removed_ones_left_out(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(mount_paths="/mnt/data")
    task_id = await submit(gateway, alwayson_scripts={"save_dir": "/mnt/data/mine"})
    await finish(gateway, await Consumer(gateway.queue, "").begin(), "a.png", "b.png")
    await asyncio.to_thread(store_of(gateway).delete, "mine/a.png")
    answer = await call(gateway, "GET", f"/results/{task_id}")
    assert [image["infotext"] for image in answer["data"]] == ["cat b.png"]


async def test_a_failed_task_says_why_and_is_put_again(gateway: RunningGateway, consumer: Consumer) -> None:
    task_id = await submit(gateway, steps=3)
    await call(gateway, "POST", f"/task/{task_id}/rename", params={"name": "portrait"})
    task = await consumer.begin()
    assert (await call(gateway, "POST", f"/task/{task_id}/requeue"))["success"] is False, "it runs"
    failed = error_result(code=500, kind="OutOfMemoryError", message="out of memory")
    await gateway.queue.run(gateway.queue.tasks.finish(task, failed.data, tags=failed.tags))
    data = (await call(gateway, "GET", f"/task/{task_id}"))["data"]
    assert (data["status"], data["result"]["error"]) == ("failed", "out of memory")
    answer = await call(gateway, "GET", f"/task/{task_id}/results")
    assert answer == {"success": False, "message": "The task has no results: out of memory"}
    assert (await call(gateway, "GET", "/history", params={"status": "done"}))["total"] == 0
    assert (await call(gateway, "GET", "/history", params={"status": "failed"}))["total"] == 1

    again = await call(gateway, "POST", f"/task/{task_id}/requeue")
    assert again["success"]
    (waiting,) = (await call(gateway, "GET", "/queue"))["pending_tasks"]
    assert (waiting["id"], waiting["name"], waiting["params"]["steps"]) == (again["task_id"], "portrait", 3)
    all_failed = await call(gateway, "POST", "/task/requeue-failed")
    assert len(all_failed["task_ids"]) == 1
    assert len(await pending(gateway)) == 2


async def test_deleting_cancels_what_waits_and_stops_what_runs(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    running, waiting, kept = [await submit(gateway) for _ in range(3)]
    task = await consumer.begin()
    assert (await call(gateway, "DELETE", f"/task/{waiting}"))["success"]
    assert await call(gateway, "GET", f"/task/{waiting}") == NOT_FOUND
    assert await pending(gateway) == [kept], "the others stay"
    answer = await call(gateway, "DELETE", f"/task/{running}")
    assert answer == {"success": True, "message": "Task interrupted"}
    assert await consumer.told() == f"cancel {task.index}"
    stopped = error_result(code=499, kind="Cancelled", message="the task was stopped")
    await gateway.queue.run(
        gateway.queue.tasks.finish(task, stopped.data, tags=stopped.tags, state=State.CANCELLED)
    )
    (ended,) = (await call(gateway, "GET", "/history"))["tasks"]
    assert (ended["id"], ended["status"]) == (running, "interrupted")
    assert (await call(gateway, "POST", f"/delete/{running}"))["message"] == "Task deleted"
    assert (await call(gateway, "GET", "/history"))["total"] == 0


async def test_clearing_takes_the_scheduled_tasks_only(gateway: RunningGateway, consumer: Consumer) -> None:
    for _ in range(3):
        await submit(gateway)
    response = await gateway.client.post("/sdapi/v1/txt2img?tag=1", json={})
    other = response.headers["X-EAS-QueueService-Request-Id"]
    await finish(gateway, await consumer.begin(), "one.png")
    assert (await call(gateway, "POST", "/queue/clear"))["success"]
    assert await pending(gateway) == []
    assert (await consumer.take()).request_id == other
    assert (await call(gateway, "GET", "/history"))["total"] == 1
    assert (await call(gateway, "POST", "/history/clear"))["success"]
    assert (await call(gateway, "GET", "/history"))["total"] == 0
    assert await asyncio.to_thread(store_of(gateway).exists, "outputs/one.png"), "the picture stays"


@pytest.mark.parametrize("prefix", ["/queue", ""])
async def test_a_paused_queue_hands_nothing_out_until_it_is_resumed(
    gateway: RunningGateway, consumer: Consumer, prefix: str
) -> None:
    assert (await call(gateway, "POST", f"{prefix}/pause"))["success"]
    await submit(gateway)
    reserve = gateway.queue.tasks.reserve(worker="w", lease_ms=1000)
    assert await gateway.queue.run(reserve) is None
    assert (await call(gateway, "GET", "/queue"))["paused"] is True
    assert (await call(gateway, "POST", f"{prefix}/resume"))["success"]
    assert (await call(gateway, "GET", "/queue"))["paused"] is False
    await consumer.take()


async def test_moving_within_the_line(gateway: RunningGateway, consumer: Consumer) -> None:
    one, two, three, four = [await submit(gateway) for _ in range(4)]
    assert (await call(gateway, "POST", f"/task/{three}/move/top"))["success"]
    assert await pending(gateway) == [three, one, two, four]
    assert (await call(gateway, "POST", f"/task/{one}/move/bottom"))["success"]
    assert await pending(gateway) == [three, two, four, one]
    assert (await call(gateway, "POST", f"/task/{four}/run"))["success"]
    assert await pending(gateway) == [four, three, two, one]
    assert (await call(gateway, "POST", f"/move/{one}/{four}"))["success"]
    assert await pending(gateway) == [one, four, three, two]
    between = await call(gateway, "POST", f"/task/{two}/move/{three}")
    assert between["success"] is False
    assert "not in between" in between["message"]
    assert await call(gateway, "POST", f"/task/{two}/move/nobody") == NOT_FOUND
    assert (await consumer.begin()).request_id == one
    moved = await call(gateway, "POST", f"/task/{one}/move/top")
    assert (moved["success"], "running" in moved["message"]) == (False, True)


async def test_names_and_marks(gateway: RunningGateway) -> None:
    task_id = await submit(gateway)
    assert (await call(gateway, "POST", f"/task/{task_id}/bookmark"))["success"]
    assert (await call(gateway, "PUT", f"/task/{task_id}", json={"name": "Münze"}))["success"]
    data = (await call(gateway, "GET", f"/task/{task_id}"))["data"]
    assert (data["name"], data["bookmarked"]) == ("Münze", True)
    assert (await call(gateway, "POST", f"/unbookmark/{task_id}"))["success"]
    assert (await call(gateway, "GET", f"/task/{task_id}"))["data"]["bookmarked"] is False
    refused = await call(gateway, "PUT", f"/task/{task_id}", json={"checkpoint": "other"})
    assert refused["success"] is False


async def test_an_export_can_be_imported(gateway: RunningGateway) -> None:
    await submit(gateway, steps=3)
    await submit(gateway, steps=4, prompt="日本 ✓")
    exported = await call(gateway, "GET", "/export")
    assert sorted(task["params"]["steps"] for task in exported) == [3, 4]
    exported[0]["params"] = json.dumps(exported[0]["params"])  # as the extension's own files have it
    answer = await call(gateway, "POST", "/import", json={"content": json.dumps(exported)})
    assert len(answer["task_ids"]) == 2
    assert len(await pending(gateway)) == 4


async def test_images_that_are_too_large_to_keep_are_left_out(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    image = base64.b64encode(picture("cat") + bytes(300_000)).decode()
    response = await gateway.client.post(f"{ROOT}/queue/img2img", json={"init_images": [image], "steps": 5})
    task_id = response.json()["task_id"]
    task = await consumer.begin()
    assert task.meta["path"] == "/sdapi/v1/img2img"
    body = task.data or await gateway.server.config.loaded_app.state.gateway.claims.fetch(task.claim)
    assert json.loads(body)["init_images"] == [image], "the task has them"
    data = (await call(gateway, "GET", f"/task/{task_id}"))["data"]
    assert (data["type"], data["params"]) == ("img2img", {"init_images": [""], "steps": 5})
    failed = error_result(code=500, kind="E", message="x")
    await gateway.queue.run(gateway.queue.tasks.finish(task, failed.data, tags=failed.tags))
    again = await call(gateway, "POST", f"/task/{task_id}/requeue")
    assert (again["success"], "too large" in again["message"]) == (False, True)


async def test_samplers_and_models_are_names(gateway: RunningGateway) -> None:
    assert "Euler a" in await call(gateway, "GET", "/samplers")
    assert await call(gateway, "GET", "/sd-models") == []
