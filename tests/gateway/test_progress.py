"""Progress, interrupt and skip: A1111's global calls for the caller's own tasks, and those for one task."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from easel_gateway.tasks.standing import Standing
from easel_queue import Task

from .conftest import Consumer, RunningGateway, StartGateway

TXT2IMG = "/sdapi/v1/txt2img"
USERS = "alice:secret-alice,bob:secret-bob,secret-nobody"
IDLE_STATE = {
    "skipped": False,
    "interrupted": False,
    "stopping_generation": False,
    "job": "",
    "job_count": 0,
    "job_timestamp": "0",
    "job_no": 0,
    "sampling_step": 0,
    "sampling_steps": 0,
}


def sign(user: str) -> dict[str, str]:
    return {"Authorization": f"secret-{user}"}


async def queued(gateway: RunningGateway, user: str = "", **body: Any) -> str:
    headers = sign(user) if user else {}
    response = await gateway.client.post(TXT2IMG + "?tag=1", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return str(response.headers["X-EAS-QueueService-Request-Id"])


async def report(gateway: RunningGateway, task: Task, **snapshot: Any) -> None:
    await gateway.queue.run(gateway.queue.tasks.progress(task, snapshot))


async def progress(gateway: RunningGateway, user: str = "", **query: str) -> dict[str, Any]:
    headers = sign(user) if user else {}
    response = await gateway.client.get("/sdapi/v1/progress", params=query, headers=headers)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def internal(gateway: RunningGateway, id_task: str, user: str = "", **more: Any) -> dict[str, Any]:
    body = {"id_task": id_task, **more}
    response = await gateway.client.post("/internal/progress", json=body, headers=sign(user) if user else {})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_when_nothing_runs_progress_is_idle(gateway: RunningGateway) -> None:
    idle = {
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": IDLE_STATE,
        "current_image": None,
        "textinfo": None,
    }
    assert await progress(gateway) == idle
    await queued(gateway)
    assert await progress(gateway) == idle, "a task that waits is no progress"


async def test_progress_follows_the_batches_of_a_task(gateway: RunningGateway, consumer: Consumer) -> None:
    await queued(gateway, n_iter=4)
    task = await consumer.begin()
    shown = await progress(gateway)
    assert (shown["progress"], shown["state"]["job_count"]) == (0.01, -1), "it prepares"
    assert shown["state"]["job"] == "scripts_txt2img"
    assert len(shown["state"]["job_timestamp"]) == 14
    await report(
        gateway, task, stage="sampling", batch=1, batches=4, sampling_step=5, sampling_steps=20, step=25
    )
    shown = await progress(gateway)
    state = shown["state"]
    assert shown["progress"] == pytest.approx(0.01 + 1 / 4 + 5 / 80)
    assert (state["job"], state["job_no"], state["job_count"]) == ("Batch 2 out of 4", 1, 4)
    assert (state["sampling_step"], state["sampling_steps"]) == (5, 20)
    (running,) = await gateway.queue.run(gateway.queue.tasks.running())
    assert 0 < shown["eta_relative"] <= running.elapsed_ms / 1000 * (1 / shown["progress"] - 1)
    await report(
        gateway, task, stage="saving", batch=3, batches=4, sampling_step=20, sampling_steps=20, ratio=1.0
    )
    assert (await progress(gateway))["progress"] == 1.0
    await consumer.finish(task)
    assert (await progress(gateway))["state"] == IDLE_STATE


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        ({}, Standing()),
        ({"stage": "loading", "batches": 3}, Standing()),
        ({"step": 3, "steps": 6}, Standing(0, 1, 3, 6)),
        ({"step": "no number"}, Standing()),
        ({"an operator's": "own handler"}, Standing(0, 1)),
    ],
)
def test_any_snapshot_has_a_standing(snapshot: dict[str, object], expected: Standing) -> None:
    assert Standing.of(snapshot) == expected


async def test_the_current_image_is_raw_base64_unless_it_is_not_wanted(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    await queued(gateway)
    task = await consumer.begin()
    assert (await progress(gateway))["current_image"] is None
    await gateway.queue.run(gateway.queue.tasks.preview(task, b"picture", media_type="image/png"))
    assert base64.b64decode((await progress(gateway))["current_image"]) == b"picture"
    for name in ("skip_current_image", "skipCurrentImage"):
        assert (await progress(gateway, **{name: "true"}))["current_image"] is None


async def test_the_callers_own_task_is_told_of_first_and_no_others_picture(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(tokens=USERS)
    consumer = Consumer(gateway.queue, "")
    for steps, user in enumerate(("alice", "bob"), start=1):
        await queued(gateway, user)
        task = await consumer.begin()
        await report(gateway, task, sampling_step=steps, sampling_steps=9)
        await gateway.queue.run(gateway.queue.tasks.preview(task, user.encode(), media_type="image/png"))

    seen = {user: await progress(gateway, user) for user in ("alice", "bob", "nobody")}
    assert {user: shown["state"]["sampling_step"] for user, shown in seen.items()} == {
        "alice": 1,
        "bob": 2,
        "nobody": 1,
    }
    assert base64.b64decode(seen["bob"]["current_image"]) == b"bob"
    assert seen["nobody"]["current_image"] is None


async def test_one_task_from_the_line_to_the_end(gateway: RunningGateway, consumer: Consumer) -> None:
    await queued(gateway)
    request_id = await queued(gateway, force_task_id="task(abc)", alwayson_scripts={"id_task": "mine"})
    names = (request_id, "task(abc)", "mine")
    first = await consumer.take()
    for name in names:
        shown = await internal(gateway, name)
        assert (shown["queued"], shown["active"], shown["completed"]) == (True, False, False)
        assert shown["textinfo"] == "In queue: 2/2"
    pending = (await gateway.client.get("/internal/pending-tasks")).json()
    assert pending == {"size": 2, "tasks": [first.request_id, "task(abc)"]}

    await gateway.queue.run(gateway.queue.tasks.start(first, lease_ms=30_000))
    task = await consumer.take()
    assert (await internal(gateway, "mine"))["textinfo"] == "In queue: 1/1"
    await gateway.queue.run(gateway.queue.tasks.start(task, lease_ms=30_000))
    await report(gateway, task, batches=2, sampling_step=2, sampling_steps=4, eta_s=7.5)
    for name in names:
        shown = await internal(gateway, name)
        assert (shown["queued"], shown["active"], shown["completed"]) == (False, True, False)
        assert (shown["progress"], shown["eta"]) == (pytest.approx(0.26), 7.5)
        assert (shown["live_preview"], shown["id_live_preview"]) == (None, -1)
    assert (await gateway.client.get("/internal/pending-tasks")).json() == {"size": 0, "tasks": []}

    await consumer.finish(task)
    for name in names:
        shown = await internal(gateway, name)
        assert (shown["queued"], shown["active"], shown["completed"]) == (False, False, True)


async def test_a_preview_is_sent_once_to_who_says_what_it_has(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    request_id = await queued(gateway)
    task = await consumer.begin()
    await gateway.queue.run(gateway.queue.tasks.preview(task, b"one", media_type="image/webp"))
    shown = await internal(gateway, request_id)
    number = shown["id_live_preview"]
    assert shown["live_preview"] == "data:image/webp;base64," + base64.b64encode(b"one").decode()
    again = await internal(gateway, request_id, id_live_preview=number)
    assert (again["live_preview"], again["id_live_preview"]) == (None, number)
    assert (await internal(gateway, request_id, live_preview=False))["live_preview"] is None
    await gateway.queue.run(gateway.queue.tasks.preview(task, b"two", media_type="image/webp"))
    newer = await internal(gateway, request_id, id_live_preview=number)
    assert newer["live_preview"].endswith(base64.b64encode(b"two").decode())


async def test_an_unknown_task_only_waits(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(tokens=USERS)
    others = await queued(gateway, "bob", force_task_id="key")
    for name in ("unknown", "key", others, "x" * 100_0, ""):
        shown = await internal(gateway, name, "alice")
        assert (shown["queued"], shown["active"], shown["completed"]) == (False, False, False)
        assert shown["textinfo"] == "Waiting..."
    pending = await gateway.client.get("/internal/pending-tasks", headers=sign("alice"))
    assert pending.json() == {"size": 0, "tasks": []}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id_task": 1}', b'{"id_task": "\\ud800"}', b"\xff"])
async def test_a_wrong_question_is_a_422(gateway: RunningGateway, body: bytes) -> None:
    assert (await gateway.client.post("/internal/progress", content=body)).status_code == 422


async def test_ping(gateway: RunningGateway) -> None:
    assert (await gateway.client.get("/internal/ping")).json() == {}


async def test_previews_reach_the_event_stream(gateway: RunningGateway, consumer: Consumer) -> None:
    request_id = await queued(gateway)
    seen: list[Any] = []
    task = await consumer.begin()

    async def follow() -> None:
        async for name, data in gateway.follow(request_id):
            seen.append((name, data))
            if name == "state":
                await gateway.queue.run(gateway.queue.tasks.preview(task, b"so far", media_type="image/jpeg"))
            elif name == "preview":
                await consumer.finish(task)

    await asyncio.wait_for(follow(), 20)
    (preview,) = [data for name, data in seen if name == "preview"]
    assert preview["image"] == "data:image/jpeg;base64," + base64.b64encode(b"so far").decode()


async def inbox(gateway: RunningGateway, worker: str) -> list[str]:
    """What a worker was told so far."""
    redis = gateway.queue._redis
    return [message.decode() for message in await redis.lrange(gateway.queue.keys.inbox(worker), 0, -1)]


@pytest.mark.parametrize(("path", "answer"), [("interrupt", {}), ("skip", None)])
async def test_only_the_callers_running_tasks_are_told(
    start_gateway: StartGateway, path: str, answer: Any
) -> None:
    gateway = await start_gateway(tokens=USERS)
    tasks: dict[str, Task] = {}
    for user in ("alice", "bob", "nobody"):
        await queued(gateway, user, alwayson_scripts={"uid": "somebody"})
        tasks[user] = await Consumer(gateway.queue, "", user).begin()
    waiting = await queued(gateway, "alice")

    response = await gateway.client.post(f"/sdapi/v1/{path}", headers=sign("alice"))
    assert (response.status_code, response.json()) == (200, answer)
    count = " 1" if path == "skip" else ""
    assert await inbox(gateway, "alice") == [f"{path} {tasks['alice'].token}{count}"]
    assert await inbox(gateway, "bob") == await inbox(gateway, "nobody") == []

    await gateway.client.post(f"/sdapi/v1/{path}", headers=sign("nobody"))
    assert len(await inbox(gateway, "nobody")) == 1, "a nameless caller is the anonymous user"
    assert len(await inbox(gateway, "alice")) == 1
    assert await inbox(gateway, "bob") == []

    (next_task,) = (await gateway.queue.run(gateway.queue.tasks.waiting())).tasks
    assert next_task.request_id == waiting, "what waits stays as it is"
    begun = await Consumer(gateway.queue, "", "late").begin()
    renewal = await gateway.queue.run(gateway.queue.tasks.extend(begun, lease_ms=30_000))
    assert (renewal.interrupted, renewal.skips) == (False, 0)


async def test_one_task_is_interrupted_by_any_of_its_names(gateway: RunningGateway) -> None:
    names = {}
    for number in range(3):
        key, mine = f"key-{number}", f"mine-{number}"
        request_id = await queued(gateway, force_task_id=key, alwayson_scripts={"id_task": mine})
        await Consumer(gateway.queue, "", f"w{number}").begin()
        names[number] = (request_id, key, mine)
    waiting = await queued(gateway)
    for number, field in enumerate(("id_task", "task_id", "id_task")):
        request_id = names[number][0]
        response = await gateway.client.post("/sdapi/v1/interrupt", json={field: names[number][number]})
        assert response.json() == {"request_id": request_id, "outcome": "asked"}
        told = [len(await inbox(gateway, f"w{other}")) for other in range(3)]
        assert told == [1] * (number + 1) + [0] * (2 - number), "this one and no other"
    response = await gateway.client.post("/sdapi/v1/interrupt", json={"id_task": waiting})
    assert response.json() == {"request_id": waiting, "outcome": "waiting"}


async def test_another_users_task_is_not_found_unless_the_operator_says_so(
    start_gateway: StartGateway,
) -> None:
    for anyone in (False, True):
        gateway = await start_gateway(tokens=USERS, interrupt_anyone=anyone)
        theirs = await queued(gateway, "bob")
        worker = f"w-{anyone}"
        await Consumer(gateway.queue, "", worker).begin()
        response = await gateway.client.post(
            "/sdapi/v1/interrupt", json={"id_task": theirs}, headers=sign("alice")
        )
        assert response.status_code == (200 if anyone else 404), response.text
        assert len(await inbox(gateway, worker)) == int(anyone)
        await gateway.client.post("/sdapi/v1/interrupt", headers=sign("alice"))
        assert len(await inbox(gateway, worker)) == 2 * int(anyone)


async def test_a_uid_header_means_the_tasks_of_that_uid(gateway: RunningGateway) -> None:
    for uid in ("ann", "bob"):
        await queued(gateway, alwayson_scripts={"uid": uid})
        await Consumer(gateway.queue, "", uid).begin()
    headers = {"X-EAS-QueueService-Redis-Uid": "ann"}
    await gateway.client.post("/sdapi/v1/interrupt", headers=headers)
    assert [len(await inbox(gateway, uid)) for uid in ("ann", "bob")] == [1, 0]


@pytest.mark.parametrize("body", [b"[]", b"x", b'{"task": "misspelt"}', b'{"id_task": ""}', b'"id"'])
async def test_a_body_that_names_no_task_interrupts_none(
    gateway: RunningGateway, consumer: Consumer, body: bytes
) -> None:
    await queued(gateway)
    await consumer.begin()
    for path in ("interrupt", "skip"):
        response = await gateway.client.post(f"/sdapi/v1/{path}", content=body)
        assert response.status_code == 422, response.text
    assert await inbox(gateway, "consumer") == []


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b" \n", b'{"id_task": null}'])
async def test_an_empty_body_means_all_of_the_callers(
    gateway: RunningGateway, consumer: Consumer, body: bytes
) -> None:
    await queued(gateway)
    await consumer.begin()
    response = await gateway.client.post("/sdapi/v1/interrupt", content=body)
    assert (response.status_code, response.json()) == (200, {})
    assert len(await inbox(gateway, "consumer")) == 1


async def test_a_synchronous_call_that_is_interrupted_is_answered_with_what_it_has(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    call = asyncio.create_task(gateway.client.post(TXT2IMG, json={"n_iter": 2}))
    task = await consumer.begin()
    await gateway.client.post("/sdapi/v1/interrupt")
    assert await consumer.told() == f"interrupt {task.token}"
    await consumer.finish(task, b'{"images": ["half"]}')
    response = await asyncio.wait_for(call, 20)
    assert (response.status_code, response.json()) == (200, {"images": ["half"]})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sdapi/v1/progress"),
        ("POST", "/sdapi/v1/interrupt"),
        ("POST", "/sdapi/v1/skip"),
        ("POST", "/internal/progress"),
        ("GET", "/internal/pending-tasks"),
        ("GET", "/internal/ping"),
    ],
)
async def test_every_call_wants_a_token(start_gateway: StartGateway, method: str, path: str) -> None:
    gateway = await start_gateway(tokens=USERS)
    assert (await gateway.client.request(method, path)).status_code == 401
