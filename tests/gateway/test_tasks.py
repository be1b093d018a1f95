"""Tasks by request id: status, events, cancelling; and the workers."""

from __future__ import annotations

import asyncio
import base64

from .conftest import Consumer, RunningGateway


async def put(gateway: RunningGateway, **tags: str) -> str:
    response = await gateway.client.post(gateway.source, content=b"body", params=tags)
    return str(response.headers["X-Request-Id"])


async def test_status_from_the_line_to_the_end(gateway: RunningGateway, consumer: Consumer) -> None:
    first, second = await put(gateway), await put(gateway, colour="red")
    status = (await gateway.client.get(f"/easel/v1/tasks/{second}")).json()
    assert (status["status"], status["index"], status["position"]) == ("waiting", 2, 1)
    assert status["tags"]["colour"] == "red"
    task = await consumer.begin()
    await gateway.queue.run(gateway.queue.tasks.progress(task, {"step": 1, "steps": 4}))
    running = (await gateway.client.get(f"/easel/v1/tasks/{first}")).json()
    assert (running["status"], running["worker"], running["deliveries"]) == ("running", "consumer", 1)
    assert running["progress"] == {"step": 1, "steps": 4}
    assert running["position"] is None
    await consumer.finish(task, b"result")
    done = (await gateway.client.get(f"/easel/v1/tasks/{first}")).json()
    assert (done["status"], done["sink_index"]) == ("done", 1)
    assert (await gateway.client.get(f"/easel/v1/tasks/{second}")).json()["position"] == 0


async def test_events_tell_the_whole_story(gateway: RunningGateway, consumer: Consumer) -> None:
    request_id = "followed-from-the-start"
    seen: list[str] = []
    progressed, known = asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        async for name, data in gateway.follow(request_id):
            seen.append(f"{name} {data.get('status') or data.get('step')}")
            known.set()
            if name == "progress":
                progressed.set()

    following = asyncio.create_task(follow())  # it listens before the task is there
    await gateway.client.post(gateway.source, content=b"x", headers={"X-Request-Id": request_id})
    await asyncio.wait_for(known.wait(), 20)
    task = await consumer.begin()
    await gateway.queue.run(gateway.queue.tasks.progress(task, {"step": 3}))
    await asyncio.wait_for(progressed.wait(), 20)
    await consumer.finish(task)
    await asyncio.wait_for(following, 20)
    assert seen[0] == "state waiting"
    assert seen[-3:] == ["state running", "progress 3", "end done"]


async def test_an_ended_task_is_told_at_once(gateway: RunningGateway, consumer: Consumer) -> None:
    request_id = await put(gateway)
    await consumer.finish(await consumer.begin())
    assert [name async for name, _ in gateway.follow(request_id)] == ["end"]


async def test_a_task_goes_by_the_name_that_its_sender_gave(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    stored = await gateway.client.post(
        gateway.source, content=b"x", headers={"Idempotency-Key": "holiday-card"}
    )
    request_id = stored.headers["X-Request-Id"]
    status = (await gateway.client.get("/easel/v1/tasks/holiday-card")).json()
    assert (status["request_id"], status["status"]) == (request_id, "waiting")
    told = await gateway.client.post("/easel/v1/tasks/holiday-card/cancel")
    assert told.json() == {"request_id": request_id, "outcome": "cancelled"}
    assert (await gateway.client.get("/easel/v1/tasks/another-card")).status_code == 404


async def test_a_task_that_waits_again_says_so(gateway: RunningGateway, consumer: Consumer) -> None:
    request_id = await put(gateway)
    task = await consumer.begin()
    states: list[str] = []

    async def follow() -> None:
        async for _, data in gateway.follow(request_id):
            states.append(data["status"])
            if data["status"] == "running" and len(states) == 1:
                await gateway.queue.run(
                    gateway.queue.tasks.fail(task, error="broken", data=b"x", max_delivery=2)
                )
            elif data["status"] == "waiting":
                second = await consumer.begin()
                await gateway.queue.run(
                    gateway.queue.tasks.fail(second, error="again", data=b"x", max_delivery=2)
                )

    await asyncio.wait_for(follow(), 20)
    assert states[:2] == ["running", "waiting"]
    assert states[-1] == "dead"


async def test_cancelling_a_waiting_task_delivers_its_result(gateway: RunningGateway) -> None:
    doomed, spared = await put(gateway, task_id="doomed"), await put(gateway)
    response = await gateway.client.post(f"/easel/v1/tasks/{doomed}/cancel")
    assert response.json() == {"request_id": doomed, "outcome": "cancelled"}
    (result,) = (await gateway.client.get(gateway.sink)).json()
    assert result["tags"] == {"requestId": doomed, "task_id": "doomed", "lastCode": "499"}
    assert b"cancelled" in base64.b64decode(result["data"])
    assert (await gateway.client.get(f"/easel/v1/tasks/{spared}")).json()["status"] == "waiting"


async def test_cancelling_a_running_task_tells_its_worker(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    request_id = await put(gateway)
    task = await consumer.begin()
    response = await gateway.client.delete(f"/easel/v1/tasks/{request_id}")
    assert response.json()["outcome"] == "stopping"
    assert await consumer.told() == f"cancel {task.index}"


async def test_an_unknown_task_is_not_found(gateway: RunningGateway) -> None:
    for response in (
        await gateway.client.get("/easel/v1/tasks/unknown"),
        await gateway.client.get("/easel/v1/tasks/unknown/events"),
        await gateway.client.post("/easel/v1/tasks/unknown/cancel"),
        await gateway.client.delete("/easel/v1/tasks/unknown"),
    ):
        assert response.status_code == 404
        assert "unknown" in response.json()["detail"]


async def test_workers_are_listed_while_their_heart_beats(gateway: RunningGateway) -> None:
    assert (await gateway.client.get("/easel/v1/workers")).json() == []
    await gateway.queue.run(gateway.queue.tasks.heartbeat("w1", {"device": "cpu"}))
    (worker,) = (await gateway.client.get("/easel/v1/workers")).json()
    assert (worker["id"], worker["info"]) == ("w1", {"device": "cpu"})
