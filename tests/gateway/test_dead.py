"""Dead letters over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from .conftest import Consumer, RunningGateway, StartGateway

DEAD = "/easel/v1/dead"


async def bury(gateway: RunningGateway, consumer: Consumer, body: bytes = b"{}", **tags: str) -> str:
    """A task that fails twice; answers its request id."""
    put = await gateway.client.post(f"{gateway.source}/p", content=body, params=tags)
    for error in ("first", "second"):
        task = await consumer.begin()
        call = gateway.queue.tasks.fail(task, error=error, data=b"failed", max_delivery=2)
        await gateway.queue.run(call)
    return str(put.headers["X-Request-Id"])


async def listed(gateway: RunningGateway, query: str = "") -> tuple[list[int], int | None]:
    answer = (await gateway.client.get(f"{DEAD}{query}")).json()
    return [letter["index"] for letter in answer["letters"]], answer["next"]


async def test_letters_are_listed_in_pages_in_both_orders_and_by_tag(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    assert await listed(gateway) == ([], None)
    for number in range(1, 5):
        await bury(gateway, consumer, colour="red" if number % 2 else "blue")
    assert await listed(gateway) == ([1, 2, 3, 4], None)
    assert await listed(gateway, "?limit=3") == ([1, 2, 3], 4)
    assert await listed(gateway, "?limit=3&start=4") == ([4], None)
    assert await listed(gateway, "?newest_first=true&limit=2") == ([4, 3], 2)
    assert await listed(gateway, "?tag=colour=red") == ([1, 3], None)
    assert await listed(gateway, "?tag=colour=red&tag=x=y") == ([], None)
    letter = (await gateway.client.get(DEAD)).json()["letters"][0]
    assert letter["last_error"] == "delivery 2 on consumer: second"
    assert (letter["deliveries"], letter["priority"], letter["tags"]["colour"]) == (2, 0, "red")
    assert letter["died_ms"] >= letter["enqueued_ms"] > 0
    assert "body" not in letter


async def test_a_tag_search_goes_through_the_whole_rear(gateway: RunningGateway) -> None:
    for number in range(1, 1103):
        tags = {"wanted": "yes"} if number == 1102 else {}
        await gateway.queue.run(gateway.queue.rear.append(b"", request_id=f"r{number}", tags=tags))
    assert await listed(gateway, "?tag=wanted=yes") == ([1102], None)
    removed = await gateway.client.delete(DEAD, params={"before": 1102})
    assert removed.json() == {"removed": 1101}


@pytest.mark.parametrize(
    ("body", "encoding", "shown"),
    [
        (b'{"prompt": "\xc3\xbc"}', "json", {"prompt": "ü"}),
        (b"\x00\xff", "base64", base64.b64encode(b"\x00\xff").decode()),
        (b"", "base64", ""),
        (b"1e999", "base64", base64.b64encode(b"1e999").decode()),
        (b'"\\ud800"', "base64", base64.b64encode(b'"\\ud800"').decode()),
        (b"[" * 5000, "base64", base64.b64encode(b"[" * 5000).decode()),
        (b"1" * 5000, "base64", base64.b64encode(b"1" * 5000).decode()),
    ],
)
async def test_one_letter_shows_every_error_and_its_body(
    gateway: RunningGateway, consumer: Consumer, body: bytes, encoding: str, shown: Any
) -> None:
    request_id = await bury(gateway, consumer, body)
    for name in (request_id, "1"):
        letter = (await gateway.client.get(f"{DEAD}/{name}")).json()
        assert letter["errors"] == ["delivery 1 on consumer: first", "delivery 2 on consumer: second"]
        assert (letter["body_encoding"], letter["body"]) == (encoding, shown)
        assert letter["meta"]["path"] == "/p"


async def test_a_letter_that_is_requeued_runs_again_and_brings_a_second_result(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    request_id = await bury(gateway, consumer, b"again", colour="red")
    for _ in range(2):
        answer = await gateway.client.post(f"{DEAD}/{request_id}/requeue")
        assert (answer.status_code, answer.json()) == (200, {"index": 1, "request_id": request_id})
    status = (await gateway.client.get(f"/easel/v1/tasks/{request_id}")).json()
    assert (status["status"], status["deliveries"], status["position"]) == ("waiting", 0, 0)
    task = await consumer.begin()
    assert (task.data, task.request_id, task.deliveries) == (b"again", request_id, 0)
    await consumer.finish(task, b"picture")
    results = (await gateway.client.get(gateway.sink, params={"_length_": "9"})).json()
    shown = [(base64.b64decode(result["data"]), result["tags"].get("requeued")) for result in results]
    assert shown == [(b"failed", None), (b"picture", "1")]
    assert (await gateway.client.post(f"{DEAD}/{request_id}/requeue")).status_code == 404


async def test_a_full_input_refuses_a_requeue(start_gateway: StartGateway, redis_url: str) -> None:
    gateway = await start_gateway(queue_max_length=2)
    consumer = Consumer(gateway.queue, redis_url)
    ids = [await bury(gateway, consumer) for _ in range(3)]
    await gateway.client.post(gateway.source, content=b"x")
    assert (await gateway.client.post(f"{DEAD}/requeue", json={})).json() == {
        "requeued": 1,
        "next": 2,
        "full": True,
    }
    refused = await gateway.client.post(f"{DEAD}/{ids[1]}/requeue")
    assert (refused.status_code, refused.json()["error"]) == (503, "QueueFullError")
    assert await listed(gateway) == ([2, 3], None)


async def test_an_ended_input_refuses_a_requeue(gateway: RunningGateway, consumer: Consumer) -> None:
    request_id = await bury(gateway, consumer)
    await gateway.client.post(gateway.source, params={"_eos_": "true"})
    for path, body in ((f"{DEAD}/{request_id}/requeue", None), (f"{DEAD}/requeue", {})):
        refused = await gateway.client.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]) == (410, "StreamEndedError")
    assert await listed(gateway) == ([1], None)
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"
    await gateway.client.delete(gateway.source, params={"_indexes_": "2"})  # the marker
    assert (await gateway.client.post(f"{DEAD}/{request_id}/requeue")).status_code == 200
    assert (await consumer.take()).request_id == request_id


async def test_many_are_requeued_by_tag(gateway: RunningGateway, consumer: Consumer) -> None:
    for number in range(1, 6):
        await bury(gateway, consumer, colour="red" if number % 2 else "blue")
    answer = await gateway.client.post(f"{DEAD}/requeue", json={"tags": {"colour": "red"}, "limit": 2})
    assert answer.json() == {"requeued": 2, "next": 4, "full": False}
    assert await listed(gateway) == ([2, 4, 5], None)
    answer = await gateway.client.post(f"{DEAD}/requeue", json={"tags": {"colour": "red"}, "start": 4})
    assert answer.json() == {"requeued": 1, "next": None, "full": False}
    assert [(await consumer.take()).index for _ in range(3)] == [1, 3, 5]


async def test_more_than_a_batch_is_requeued_in_one_call(gateway: RunningGateway) -> None:
    for number in range(1, 251):
        await gateway.queue.run(gateway.queue.rear.append(b"", request_id=f"r{number}"))
    answer = await gateway.client.post(f"{DEAD}/requeue", json={})
    assert answer.json() == {"requeued": 250, "next": None, "full": False}


@pytest.mark.parametrize(
    ("field", "value"), [("start", False), ("limit", True), ("limit", "3"), ("tags", [])]
)
async def test_what_is_no_number_is_not_taken_for_one(
    gateway: RunningGateway, field: str, value: object
) -> None:
    refused = await gateway.client.post(f"{DEAD}/requeue", json={field: value})
    assert refused.status_code == 422
    assert field in str(refused.json()["detail"])


async def test_a_newer_task_of_the_same_id_is_a_conflict(gateway: RunningGateway, consumer: Consumer) -> None:
    request_id = await bury(gateway, consumer)
    await gateway.queue._redis.delete(gateway.queue.keys.done(request_id))  # as after an hour
    await gateway.queue.run(gateway.queue.tasks.put(b"newer", request_id=request_id))
    refused = await gateway.client.post(f"{DEAD}/{request_id}/requeue")
    assert refused.status_code == 409
    assert request_id in refused.json()["detail"]


async def test_letters_are_removed_one_by_one_and_below_an_index(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    ids = [await bury(gateway, consumer) for _ in range(4)]
    assert (await gateway.client.delete(f"{DEAD}/{ids[3]}")).json() == {"removed": 1}
    assert (await gateway.client.delete(f"{DEAD}/{ids[3]}")).status_code == 404
    for removed in (2, 0):
        assert (await gateway.client.delete(DEAD, params={"before": 3})).json() == {"removed": removed}
    assert await listed(gateway) == ([3], None)
    assert (await gateway.client.delete(DEAD)).status_code == 422, "never everything by accident"


@pytest.mark.parametrize(
    ("method", "path", "status", "named"),
    [
        ("GET", "?limit=0", 422, "limit"),
        ("GET", "?limit=501", 422, "limit"),
        ("GET", "?start=-1", 422, "start"),
        ("GET", f"?start={2**64}", 422, "start"),
        ("GET", "?tag=novalue", 400, "tag"),
        ("GET", "/unknown", 404, "unknown"),
        ("GET", "/99999999999999999999999", 404, "9999"),
        ("POST", "/unknown/requeue", 404, "unknown"),
        ("DELETE", "/unknown", 404, "unknown"),
        ("DELETE", "?before=x", 422, "before"),
        ("POST", "/requeue", 422, "body"),
    ],
)
async def test_a_wrong_call_says_what_is_wrong(
    gateway: RunningGateway, method: str, path: str, status: int, named: str
) -> None:
    response = await gateway.client.request(method, DEAD + path)
    assert response.status_code == status
    assert named in response.text


@pytest.mark.parametrize("body", [{"tags": {"a": 1}}, {"limit": 0}, {"all": True}, {"start": -1}, []])
async def test_a_wrong_requeue_is_refused_and_moves_nothing(
    gateway: RunningGateway, consumer: Consumer, body: Any
) -> None:
    await bury(gateway, consumer)
    assert (await gateway.client.post(f"{DEAD}/requeue", json=body)).status_code == 422
    assert await listed(gateway) == ([1], None)
