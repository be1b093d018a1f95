"""Negative commits over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from easel_gateway.eas.codecs import PROTOBUF_TYPE

from .conftest import Consumer, RunningGateway, StartGateway
from .eas_clients import length, reject, watching

REAR = {"X-EAS-QueueService-Access-Rear": "true"}


async def test_a_rejected_result_is_delivered_again_with_the_reason(gateway: RunningGateway) -> None:
    await gateway.put_result("one")
    async with watching(gateway) as watcher:
        assert await watcher.next() == (1, b"one")
        await watcher.reject(1, code="Disk.Full", reason="no room & no hope: ü")
        frame = await watcher.frame()
        assert "delivery 1 to eas.u1: Disk.Full: no room & no hope: ü".encode() in frame
        await watcher.commit(1)
        assert await length(gateway) == "0"


async def test_a_result_that_fails_too_often_is_set_aside_not_lost(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_delivery=2)
    await gateway.put_result("poison")
    await gateway.put_result("good")
    async with watching(gateway, _window_="1") as watcher:
        for _ in range(2):
            assert await watcher.indexes(1) == [1]
            await watcher.reject(1, code="500")
        assert await watcher.next() == (2, b"good")
        await watcher.commit(2)
        await watcher.assert_silent()
    attributes = await gateway.attributes(gateway.sink)
    assert attributes["groups.list.[0]"] == "Id: eas, Todo: 0, Pending: 0, Aside: 1"
    (item,) = (await gateway.client.get(gateway.sink)).json()
    assert base64.b64decode(item["data"]) == b"poison"
    assert item["message"] == "delivery 2 to eas.u1: 500"


async def test_shutdown_hands_over_to_another_consumer(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_delivery=1)
    for _ in range(2):
        await gateway.put_result()
    async with watching(gateway, uid="leaving") as leaving:
        assert await leaving.indexes(2) == [1, 2]
        await leaving.reject(1, code="Shutdown", reason="scaling in")
        await leaving.assert_silent()
        line = (await gateway.attributes(gateway.sink))["consumers.list.[0]"]
        assert "Status: Leaving" in line
        async with watching(gateway, uid="staying") as staying:
            assert await staying.indexes(1) == [1]
            await leaving.socket.close()
            assert await staying.indexes(1) == [2]


@pytest.mark.parametrize(("code", "status"), [("503", "503"), ("BadInput", "500"), ("200", "500")])
async def test_a_task_that_a_consumer_rejects_ends_in_the_rear_and_as_a_failed_result(
    start_gateway: StartGateway, code: str, status: str
) -> None:
    gateway = await start_gateway(max_delivery=2)
    group = gateway.settings.service
    put = await gateway.client.post(gateway.source, content=b"task", params={"task_id": "t"})
    async with watching(gateway, group=group, path=gateway.source) as watcher:
        for _ in range(2):
            assert await watcher.next() == (1, b"task")
            await reject(gateway, gateway.source, 1, group=group, code=code, reason="no such model")
    (letter,) = (await gateway.client.get(gateway.source, headers=REAR)).json()
    assert (letter["index"], base64.b64decode(letter["data"])) == (1, b"task")
    assert letter["message"] == f"delivery 2 to {group}.u1: {code}: no such model"
    (result,) = (await gateway.client.get(gateway.sink)).json()
    request_id = put.headers["X-Request-Id"]
    assert result["tags"] == {"requestId": request_id, "task_id": "t", "lastCode": status}
    body = json.loads(base64.b64decode(result["data"]))
    assert body["parameters"]["status"] == int(status)
    assert body["parameters"]["error_msg"] == f"Given up: {code}: no such model"
    assert await gateway.wait_ended(request_id) == "dead"


@pytest.mark.parametrize(("policy", "letters"), [("Rear", [1]), ("Drop", [])])
async def test_the_policy_decides_whether_a_rejected_task_is_kept(
    start_gateway: StartGateway, policy: str, letters: list[int]
) -> None:
    gateway = await start_gateway(max_delivery=1, dead_message_policy=policy)
    await gateway.client.post(gateway.source, content=b"task")
    async with watching(gateway, path=gateway.source) as watcher:
        assert await watcher.next() == (1, b"task")
        await reject(gateway, gateway.source, 1, code="500")
    dead = (await gateway.client.get("/easel/v1/dead")).json()["letters"]
    assert [letter["index"] for letter in dead] == letters
    (result,) = (await gateway.client.get(gateway.sink)).json()
    assert result["tags"]["lastCode"] == "500"


async def test_a_synchronous_caller_hears_of_the_rejection(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_delivery=1)
    waiting = asyncio.create_task(gateway.client.post("/sdapi/v1/txt2img", json={"prompt": "x"}))
    async with watching(gateway, path=gateway.source) as watcher:
        assert (await watcher.next())[0] == 1
        await reject(gateway, gateway.source, 1, code="502", reason="backend gone")
    answer = await waiting
    assert answer.status_code == 502
    assert answer.json()["detail"] == "Given up: 502: backend gone"


async def test_repeats_unknown_indexes_and_empty_forms_are_ok(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    await gateway.put_result()
    for path in (gateway.sink, gateway.source):
        for _ in range(2):
            await reject(gateway, path, 1, 99, 2**64 - 1)
    async with watching(gateway) as watcher:
        assert (await watcher.frame()).find(b"delivery") < 0, "what nobody had cannot fail"


@pytest.mark.parametrize(
    "code", ["shutdown", "Two Words", "A.B.C", ".Dot", "Dot.", "404x", "X404", "Ünlaut", "A" * 21, "1" * 21]
)
async def test_a_code_of_another_shape_is_refused(gateway: RunningGateway, code: str) -> None:
    params = {"_indexes_": "1", "_negative_": "true"}
    refused = await gateway.client.put(gateway.sink, params=params, data={"_code_": code})
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("_code_:")


@pytest.mark.parametrize("code", ["Shutdown", "ModelNotFound", "Model.NotFound", "OOM", "0", "1" * 20])
async def test_codes_that_the_sdks_allow_are_taken(gateway: RunningGateway, code: str) -> None:
    await reject(gateway, gateway.sink, 1, code=code)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"_code_": "Bad"}', "application/json", 415),
        (b"&".join(b"a%d=1" % number for number in range(30)), "application/x-www-form-urlencoded", 400),
        (b"_reason_=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"\xff\xfe=%ff&_reason_=%ff\xff", "application/x-www-form-urlencoded", 200),
    ],
)
async def test_odd_forms(gateway: RunningGateway, body: bytes, content_type: str, status: int) -> None:
    params = {"_indexes_": "1", "_negative_": "true"}
    response = await gateway.client.put(
        gateway.sink, params=params, content=body, headers={"Content-Type": content_type}
    )
    assert response.status_code == status


async def test_the_message_is_field_four_of_the_frame(gateway: RunningGateway) -> None:
    await gateway.put_result("x")
    async with watching(gateway) as watcher:
        await watcher.indexes(1)
        await watcher.reject(1, code="Bad")
        await watcher.indexes(1)
    response = await gateway.client.get(gateway.sink, headers={"Accept": PROTOBUF_TYPE})
    message = b"delivery 1 to eas.u1: Bad"
    assert bytes([4 << 3 | 2, len(message)]) + message in response.content
