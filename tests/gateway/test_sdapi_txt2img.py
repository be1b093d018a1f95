"""txt2img over HTTP: synchronous, queued, and refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from easel_queue import State

from .conftest import Consumer, RunningGateway, StartGateway

PATH = "/sdapi/v1/txt2img"
BODY = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}


async def test_a_call_without_parameters_waits_for_the_result(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY))
    task = await consumer.begin()
    assert json.loads(task.data) == BODY
    assert task.meta["path"] == PATH
    await consumer.finish(task, b'{"images":["x"]}')
    response = await call
    assert response.status_code == 200
    assert response.json() == {"images": ["x"]}
    assert response.headers["X-Request-Id"] == task.request_id
    assert response.headers["X-Eas-Queueservice-Request-Id"] == task.request_id
    assert float(response.headers["X-Process-Time"]) > 0
    # the result went to the caller, not to the sink
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "0"


async def test_a_failed_task_answers_with_its_status(gateway: RunningGateway, consumer: Consumer) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY))
    task = await consumer.begin()
    await consumer.finish(task, b'{"error":"OutOfMemoryError"}', lastCode="500")
    response = await call
    assert response.status_code == 500
    assert response.json()["error"] == "OutOfMemoryError"


async def test_the_callers_request_id_names_the_task(gateway: RunningGateway, consumer: Consumer) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers={"X-Request-Id": "mine-1"}))
    task = await consumer.begin()
    assert task.request_id == "mine-1"
    await consumer.finish(task)
    assert (await call).status_code == 200


@pytest.mark.parametrize("params", [{}, {"task_id": "t"}])
async def test_an_id_is_not_taken_twice(
    gateway: RunningGateway, consumer: Consumer, params: dict[str, str]
) -> None:
    headers = {"X-Request-Id": "handed-on-by-a-proxy"}
    first = await gateway.client.post(gateway.source, content=b"first", headers=headers)
    assert first.status_code == 200
    for when in ("while it waits", "after it ended"):
        again = await gateway.client.post(PATH, json=BODY, headers=headers, params=params)
        assert again.status_code == 409, when
        assert "X-Request-Id" in again.json()["detail"]
        assert (await gateway.client.post(gateway.source, headers=headers)).status_code == 409
        if when == "while it waits":
            await consumer.finish(await consumer.begin())
    # what a client puts into the sink has no such rule: it gets an id of its own
    puts = [await gateway.client.post(gateway.sink, headers=headers) for _ in range(2)]
    assert len({put.text for put in puts}) == 2


async def test_a_stopping_gateway_cancels_what_it_cannot_answer(
    start_gateway: StartGateway, redis_url: str
) -> None:
    gateway = await start_gateway(shutdown_grace_s=0)
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers={"X-Request-Id": "late"}))
    await gateway.wait_stored("late")
    await asyncio.wait_for(gateway.stop(), 20)
    await asyncio.gather(call, return_exceptions=True)
    status = await gateway.queue.run(gateway.queue.tasks.status("late"))
    assert status is not None
    assert status.state is State.CANCELLED


@pytest.mark.parametrize("how", [{"params": {"task_id": "t1"}}, {"headers": {"Prefer": "respond-async"}}])
async def test_parameters_or_preference_queue_the_call(
    gateway: RunningGateway, consumer: Consumer, how: dict[str, Any]
) -> None:
    response = await gateway.client.post(PATH, json=BODY, **how)
    assert response.status_code == 200
    assert response.text == "1"
    request_id = response.headers["X-Eas-Queueservice-Request-Id"]
    task = await consumer.begin()
    assert task.request_id == request_id
    assert {name: value for name, value in task.tags.items() if name != "requestId"} == how.get("params", {})
    await consumer.finish(task, b"picture")
    results = (await gateway.client.get(gateway.sink, params={"requestId": request_id})).json()
    assert results[0]["tags"]["requestId"] == request_id


async def test_priority_goes_first(gateway: RunningGateway, consumer: Consumer) -> None:
    await gateway.client.post(PATH, json=BODY, params={"task_id": "normal"})
    await gateway.client.post(PATH, json=BODY, params={"task_id": "urgent", "_priority_": "1"})
    assert (await consumer.take()).tags["task_id"] == "urgent"
    assert (await consumer.take()).tags["task_id"] == "normal"


async def test_the_synchronous_eas_address_ignores_parameters(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    call = asyncio.create_task(gateway.client.post(f"{gateway.source}.sync{PATH}?task_id=t", json=BODY))
    await consumer.finish(await consumer.begin(), b'{"images":[]}')
    assert (await call).json() == {"images": []}


async def test_what_is_not_a_webui_api_has_no_synchronous_address(gateway: RunningGateway) -> None:
    assert (await gateway.client.get(f"{gateway.source}.sync/metrics")).status_code == 404
    assert (await gateway.client.post(f"{gateway.source}.sync{gateway.source}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 422, None),
        ('{"width": 100000}', 422, "width"),
        ('{"steps": "many"}', 422, "steps"),
        ('{"alwayson_scripts": {"nonsense": {}}}', 422, "alwayson_scripts"),
        ("[]", 422, None),
    ],
)
@pytest.mark.parametrize("params", [{}, {"task_id": "t"}])
async def test_a_wrong_body_is_refused_before_it_is_stored(
    gateway: RunningGateway, body: str, status: int, field: str | None, params: dict[str, str]
) -> None:
    response = await gateway.client.post(PATH, content=body, params=params)
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert detail[0]["loc"][: 2 if field else 1] == (["body", field] if field else ["body"])
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"


async def test_an_unknown_sampler_is_refused_in_the_envelope(gateway: RunningGateway) -> None:
    response = await gateway.client.post(PATH, json={**BODY, "sampler_name": "Nonsense"})
    assert response.status_code == 400
    body = response.json()
    assert set(body) == {"error", "detail", "body", "errors"}
    assert "Sampler not found" in body["detail"]


async def test_a_full_queue_is_refused_before_it_stores(start_gateway: RunningGateway) -> None:
    gateway = await start_gateway(queue_max_length=1)
    assert (await gateway.client.post(PATH, json=BODY, params={"a": "1"})).status_code == 200
    for refused in (
        await gateway.client.post(PATH, json=BODY, params={"a": "2"}),
        await gateway.client.post(PATH, json=BODY),
        await gateway.client.post(gateway.source, content=b"x"),
    ):
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["error"] == "QueueFullError"
    assert (await gateway.attributes(gateway.source))["stream.length"] == "1"


async def test_a_full_sink_refuses_synchronous_calls(start_gateway: RunningGateway) -> None:
    gateway = await start_gateway(sink_max_length=1)
    await gateway.put_result()
    refused = await gateway.client.post(PATH, json=BODY)
    assert refused.status_code == 503
    assert refused.json()["error"] == "SinkFullError"


async def test_a_caller_that_hangs_up_cancels_its_task_and_no_other(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers={"X-Request-Id": "gone"}))
    await gateway.wait_stored("gone")
    other = await gateway.client.post(PATH, json=BODY, params={"task_id": "stays"})
    call.cancel()
    assert await gateway.wait_ended("gone") == "cancelled"
    assert (await consumer.take()).request_id == other.headers["X-Request-Id"]


async def test_the_worker_of_a_gone_caller_is_told_to_stop(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY))
    task = await consumer.begin()
    call.cancel()
    assert await consumer.told() == f"cancel {task.index}"


async def test_a_setting_keeps_the_task_of_a_gone_caller(start_gateway: StartGateway, redis_url: str) -> None:
    gateway = await start_gateway(cancel_on_disconnect=False)
    consumer = Consumer(gateway.queue, redis_url)
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers={"X-Request-Id": "kept"}))
    await gateway.wait_stored("kept")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    task = await consumer.begin()
    await consumer.finish(task)
    assert await gateway.wait_ended("kept") == "done"


async def test_a_call_that_takes_too_long_is_cancelled(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sync_timeout_s=0.2)
    response = await gateway.client.post(PATH, json=BODY)
    assert response.status_code == 408
    assert await gateway.wait_ended(response.headers["X-Request-Id"]) == "cancelled"


async def test_deleting_the_task_of_a_waiting_caller_ends_its_wait(gateway: RunningGateway) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers={"X-Request-Id": "doomed"}))
    await gateway.wait_stored("doomed")
    await gateway.client.delete(gateway.source, params={"_indexes_": "1"})
    assert (await call).status_code == 410


async def test_a_body_beyond_the_limit_is_refused(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_body_bytes=1024)
    big = b"x" * 1025

    async def in_chunks() -> AsyncIterator[bytes]:
        yield big

    assert (await gateway.client.post(PATH, content=big)).status_code == 413
    assert (await gateway.client.post(PATH, content=in_chunks())).status_code == 413
    assert (await gateway.client.post(gateway.source, content=big)).status_code == 413
    assert (await gateway.client.post(gateway.source, content=big[:1024])).status_code == 200


async def test_the_schema_shows_the_request_model(gateway: RunningGateway) -> None:
    schema = (await gateway.client.get("/openapi.json")).json()
    shown = schema["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    model = schema["components"]["schemas"][shown["$ref"].rpartition("/")[2]]
    assert {"prompt", "steps", "alwayson_scripts"} <= set(model["properties"])
    assert (await gateway.client.get("/docs")).status_code == 200
