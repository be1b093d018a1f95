"""A request that is sent again under its key happens once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from easel_queue import State

from .conftest import Consumer, RunningGateway, StartGateway

PATH = "/sdapi/v1/txt2img"
BODY = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}
KEY = {"Idempotency-Key": "8e03978e-40d5"}
REAR = {"X-EAS-QueueService-Access-Rear": "true"}


async def length(gateway: RunningGateway) -> int:
    return int((await gateway.attributes(gateway.source))["stream.length"])


async def test_a_put_answers_the_first_index_and_id_in_every_state(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    async def put() -> tuple[int, str, str]:
        response = await gateway.client.post(
            f"{gateway.source}/any/path", content=b"x", params={"task_id": "t"}, headers=KEY
        )
        return response.status_code, response.text, response.headers["X-Eas-Queueservice-Request-Id"]

    first = await put()
    assert first[:2] == (200, "1")
    assert await put() == first, "while it waits"
    task = await consumer.begin()
    assert await put() == first, "while it runs"
    await consumer.finish(task)
    assert await put() == first, "after it ended"
    assert await length(gateway) == 0
    results = (await gateway.client.get(gateway.sink, params={"_length_": "9"})).json()
    assert [result["tags"]["requestId"] for result in results] == [first[2]]


@pytest.mark.parametrize("how", [{"path": "/sink"}, {"path": "", "headers": REAR}])
async def test_puts_into_the_sink_and_the_rear_happen_once(gateway: RunningGateway, how: Any) -> None:
    url, headers = gateway.source + how["path"], {**KEY, **how.get("headers", {})}
    first = await gateway.client.post(url, content=b"x", headers=headers)
    again = await gateway.client.post(url, content=b"x", headers=headers)
    assert (again.status_code, again.text) == (200, first.text)
    name = "X-Eas-Queueservice-Request-Id"
    assert again.headers[name] == first.headers[name]
    other = await gateway.client.post(url, content=b"other", headers=headers)
    assert other.status_code == 422
    count = await gateway.client.get(url, params={"_count_": "true"}, headers=headers)
    assert count.text == "1"


async def test_concurrent_puts_store_one_task(gateway: RunningGateway) -> None:
    posts = [gateway.client.post(gateway.source, content=b"x", headers=KEY) for _ in range(20)]
    answers = await asyncio.gather(*posts)
    assert {answer.text for answer in answers} == {"1"}
    assert len({answer.headers["X-Eas-Queueservice-Request-Id"] for answer in answers}) == 1
    assert await length(gateway) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"content": b"another body"},
        {"content": b"x", "params": {"task_id": "another"}},
        {"content": b"x", "path": "/another"},
    ],
)
async def test_another_request_under_the_same_key_is_refused(gateway: RunningGateway, other: Any) -> None:
    assert (await gateway.client.post(gateway.source, content=b"x", headers=KEY)).status_code == 200
    path = other.pop("path", "")
    refused = await gateway.client.post(gateway.source + path, headers=KEY, **other)
    assert refused.status_code == 422
    assert refused.json()["error"] == "KeyReusedError"
    assert "Idempotency-Key" in refused.json()["detail"]
    assert await length(gateway) == 1


async def test_a_key_belongs_to_the_tokens_name(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(tokens="alice:alice-token,bob:bob-token")

    async def put(token: str) -> str:
        headers = {**KEY, "Authorization": token}
        return (await gateway.client.post(gateway.source, content=b"x", headers=headers)).text

    assert [await put(token) for token in ("alice-token", "bob-token", "alice-token")] == ["1", "2", "1"]


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\there", b"\xc3\xbc"])
async def test_an_unusable_key_is_a_400_that_names_the_header(
    gateway: RunningGateway, key: str | bytes
) -> None:
    for url in (gateway.source, gateway.sink, PATH):
        refused = await gateway.client.post(url, json=BODY, headers={"Idempotency-Key": key})
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith("Idempotency-Key: ")
    longest = {"Idempotency-Key": "~" * 255}
    assert (await gateway.client.post(gateway.source, headers=longest)).status_code == 200


async def test_a_retry_may_repeat_its_own_request_id(gateway: RunningGateway) -> None:
    headers = {**KEY, "X-Request-Id": "mine"}
    for _ in range(2):
        put = await gateway.client.post(gateway.source, content=b"x", headers=headers)
        assert (put.status_code, put.text) == (200, "1")
    taken = await gateway.client.post(
        gateway.source, content=b"y", headers={**headers, "Idempotency-Key": "new"}
    )
    assert taken.status_code == 409
    assert "X-Request-Id" in taken.json()["detail"]


async def test_force_task_id_is_a_key_too(gateway: RunningGateway) -> None:
    body = {**BODY, "force_task_id": "task(txt2img-ABC1234)"}
    for _ in range(2):
        put = await gateway.client.post(PATH, json=body, params={"task_id": "t"})
        assert (put.status_code, put.text) == (200, "1")
    other = await gateway.client.post(PATH, json={**body, "steps": 3}, params={"task_id": "t"})
    assert other.status_code == 422
    bad = await gateway.client.post(PATH, json={**BODY, "force_task_id": "ü"}, params={"task_id": "t"})
    assert bad.status_code == 400
    assert bad.json()["detail"].startswith("force_task_id: ")
    for none in (None, ""):
        free = await gateway.client.post(PATH, json={**BODY, "force_task_id": none}, params={"task_id": "t"})
        assert free.status_code == 200
    assert await length(gateway) == 3


async def test_a_call_is_rendered_once_and_answered_to_everybody(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    calls = [asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=KEY)) for _ in range(3)]
    task = await consumer.begin()
    calls.append(asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=KEY)))
    await consumer.finish(task, b'{"images":["once"]}', lastCode="201")
    calls.append(asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=KEY)))
    for answer in await asyncio.gather(*calls):
        assert (answer.status_code, answer.json()) == (201, {"images": ["once"]})
        assert answer.headers["X-Eas-Queueservice-Request-Id"] == task.request_id
    assert await length(gateway) == 0


async def test_a_keyed_caller_that_hangs_up_finds_its_result_later(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    headers = {**KEY, "X-Request-Id": "first"}
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=headers))
    await gateway.wait_stored("first")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    task = await consumer.begin()
    await consumer.finish(task, b'{"images":["kept"]}')
    again = await gateway.client.post(PATH, json=BODY, headers=KEY)
    assert again.json() == {"images": ["kept"]}
    assert again.headers["X-Eas-Queueservice-Request-Id"] == "first"


async def test_a_time_out_leaves_a_keyed_call_alone(start_gateway: StartGateway, redis_url: str) -> None:
    gateway = await start_gateway(sync_timeout_s=0.3)
    consumer = Consumer(gateway.queue, redis_url)
    late = await gateway.client.post(PATH, json=BODY, headers=KEY)
    assert late.status_code == 408
    assert "repeat the call" in late.json()["detail"]
    await consumer.finish(await consumer.begin(), b'{"images":["late"]}')
    assert (await gateway.client.post(PATH, json=BODY, headers=KEY)).json() == {"images": ["late"]}


async def test_a_result_that_cannot_be_given_is_a_409(gateway: RunningGateway, consumer: Consumer) -> None:
    """A key serves one way of calling: the result goes where the first one wanted it."""
    queued = {"Idempotency-Key": "queued", "Prefer": "respond-async"}
    assert (await gateway.client.post(PATH, json=BODY, headers=queued)).text == "1"
    del queued["Prefer"]
    refused = await gateway.client.post(PATH, json=BODY, headers=queued)
    assert refused.status_code == 409
    assert "index 1" in refused.json()["detail"]
    await consumer.finish(await consumer.begin())

    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=KEY))
    task = await consumer.begin()
    await consumer.finish(task)
    assert (await call).status_code == 200
    refused = await gateway.client.post(PATH, json=BODY, headers={**KEY, "Prefer": "respond-async"})
    assert refused.status_code == 409
    assert "synchronous" in refused.json()["detail"]
    await gateway.queue._redis.delete(gateway.queue.keys.reply(task.request_id))  # as after ten minutes
    gone = await gateway.client.post(PATH, json=BODY, headers=KEY)
    assert gone.status_code == 409
    assert task.request_id in gone.json()["detail"]


async def test_deleting_the_task_frees_every_caller(gateway: RunningGateway) -> None:
    headers = {**KEY, "X-Request-Id": "doomed"}
    first = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=headers))
    await gateway.wait_stored("doomed")
    second = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=KEY))
    await asyncio.wait({second}, timeout=0.2)  # long enough that it waits; right either way
    await gateway.client.delete(gateway.source, params={"_indexes_": "1"})
    assert (await first).status_code == 410
    assert (await second).status_code == 409


async def test_a_failure_is_answered_again_too(gateway: RunningGateway, consumer: Consumer) -> None:
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers=KEY))
    task = await consumer.begin()
    failed = json.dumps({"error": "OutOfMemoryError"}).encode()
    fail = gateway.queue.tasks.fail(task, error="e", data=failed, tags={"lastCode": "500"}, max_delivery=1)
    assert (await gateway.queue.run(fail)).state is State.DEAD
    again = await gateway.client.post(PATH, json=BODY, headers=KEY)
    for answer in (await call, again):
        assert (answer.status_code, answer.json()) == (500, {"error": "OutOfMemoryError"})
