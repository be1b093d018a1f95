"""Full queues over HTTP: refused before anything is stored, or room made at the cost of the oldest."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from easel_gateway.settings import GatewaySettings

from .conftest import Consumer, StartGateway

PATH = "/sdapi/v1/txt2img"
BODY = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}


async def test_bytes_are_limited_per_queue(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(queue_max_bytes=2000, sink_max_bytes=1000)
    for url, name in ((gateway.source, "in"), (gateway.sink, "sink")):
        assert (await gateway.client.post(url, content=b"x" * 600)).status_code == 200, name
    await gateway.client.post(gateway.source, content=b"x" * 600)
    for url in (gateway.source, gateway.sink):
        refused = await gateway.client.post(url, content=b"x" * 600)
        assert (refused.status_code, refused.json()["error"]) == (503, "QueueFullError")
        assert int(refused.headers["Retry-After"]) > 0
    assert (await gateway.client.post(gateway.source, content=b"x" * 2000)).status_code == 413
    attributes = await gateway.attributes(gateway.source)
    assert (attributes["stream.length"], attributes["stream.approxMaxBytes"]) == ("2", "2000")
    assert 1200 < int(attributes["stream.bytes"]) <= 2000
    sink = await gateway.attributes(gateway.sink)
    assert (sink["stream.length"], sink["stream.approxMaxBytes"]) == ("1", "1000")


async def test_a_sink_full_of_bytes_refuses_synchronous_calls(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sink_max_bytes=1000)
    await gateway.put_result("x" * 900)
    await gateway.queue.run(gateway.queue.sink.append(b"x" * 100, request_id="more"))
    refused = await gateway.client.post(PATH, json=BODY)
    assert (refused.status_code, refused.json()["error"]) == (503, "SinkFullError")


async def test_the_payload_is_limited_per_queue(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(queue_max_payload_bytes=1000, sink_max_payload_bytes=100)
    rear = {"X-EAS-QueueService-Access-Rear": "true"}
    for url, headers, limit, setting in (
        (gateway.source, {}, 1000, "EASEL_QUEUE_MAX_PAYLOAD_BYTES"),
        (gateway.source, rear, 1000, "EASEL_QUEUE_MAX_PAYLOAD_BYTES"),
        (PATH, {}, 1000, "EASEL_QUEUE_MAX_PAYLOAD_BYTES"),
        (gateway.sink, {}, 100, "EASEL_SINK_MAX_PAYLOAD_BYTES"),
    ):
        large = await gateway.client.post(url, content=b"x" * (limit + 1), headers=headers)
        assert large.status_code == 413
        assert f"{limit} bytes ({setting})" in large.json()["detail"]
        if url != PATH:
            fits = await gateway.client.post(url, content=b"x" * limit, headers=headers)
            assert fits.status_code == 200
            attributes = await gateway.client.get(url, params={"_attrs_": "true"}, headers=headers)
            assert attributes.json()["meta.maxPayloadBytes"] == str(limit)


async def test_the_lengths_are_in_the_attributes(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(queue_max_length=7, sink_max_length=8)
    assert (await gateway.attributes(gateway.source))["stream.approxMaxLength"] == "7"
    assert (await gateway.attributes(gateway.sink))["stream.approxMaxLength"] == "8"


async def test_an_input_that_evicts_tells_the_oldest_that_it_is_gone(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(queue_max_length=2, queue_source_auto_evict=True)
    oldest = await gateway.client.post(gateway.source, content=b"1", params={"task_id": "oldest"})
    call = asyncio.create_task(gateway.client.post(PATH, json=BODY, headers={"X-Request-Id": "waits"}))
    await gateway.wait_stored("waits")
    for number in (3, 4):
        put = await gateway.client.post(gateway.source, content=b"new")
        assert (put.status_code, put.text) == (200, str(number))
    evicted = await call
    assert (evicted.status_code, evicted.json()["error"]) == (503, "Evicted")
    (result,) = (await gateway.client.get(gateway.sink, params={"_length_": "9"})).json()
    request_id = oldest.headers["X-Request-Id"]
    assert result["tags"] == {"requestId": request_id, "task_id": "oldest", "lastCode": "503"}
    assert "make room" in json.loads(base64.b64decode(result["data"]))["parameters"]["error_msg"]
    status = (await gateway.client.get(f"/easel/v1/tasks/{request_id}")).json()
    assert status["status"] == "evicted"
    assert await gateway.wait_ended(request_id) == "evicted"


async def test_running_tasks_are_not_evicted(start_gateway: StartGateway, redis_url: str) -> None:
    gateway = await start_gateway(queue_max_length=1, queue_source_auto_evict=True)
    await gateway.client.post(gateway.source, content=b"1")
    await Consumer(gateway.queue, redis_url).begin()
    assert (await gateway.client.post(gateway.source, content=b"2")).status_code == 503


async def test_a_sink_that_evicts_takes_every_result(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sink_max_length=2, queue_sink_auto_evict=True)
    assert [await gateway.put_result(str(number)) for number in range(4)] == [1, 2, 3, 4]
    attributes = await gateway.attributes(gateway.sink)
    assert (attributes["stream.length"], attributes["stream.firstEntry"]) == ("2", "3")


async def test_a_rear_of_the_clients_own_is_never_evicted(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sink_max_length=1, queue_sink_auto_evict=True)
    rear = {"X-EAS-QueueService-Access-Rear": "true"}
    assert (await gateway.client.post(gateway.source, content=b"1", headers=rear)).status_code == 200
    assert (await gateway.client.post(gateway.source, content=b"2", headers=rear)).status_code == 503


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("1m30s", 90), ("500ms", 0.5), ("1h0m0s", 3600)]
)
def test_max_idle_is_a_duration(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("EASEL_MAX_IDLE", text)
    assert GatewaySettings().max_idle == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "1 minute"])
def test_a_wrong_max_idle_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EASEL_MAX_IDLE", text)
    with pytest.raises(ValueError, match="max_idle"):
        GatewaySettings()


async def test_a_delivery_beyond_max_idle_is_given_to_another_worker(
    start_gateway: StartGateway, redis_url: str
) -> None:
    gateway = await start_gateway(max_idle="200ms", max_delivery=1, reap_interval_s=0.05)
    consumer = Consumer(gateway.queue, redis_url)
    put = await gateway.client.post(gateway.source, content=b"slow")
    task = await consumer.begin()
    assert await consumer.told() == f"drop {task.token}"
    request_id = put.headers["X-Request-Id"]
    assert await gateway.wait_ended(request_id) == "dead"
    letter = (await gateway.client.get(f"/easel/v1/dead/{request_id}")).json()
    assert letter["errors"] == ["delivery 1 on consumer: not done after 0.2 s (max_idle)"]


async def test_the_policy_drop_keeps_no_dead_letter(start_gateway: StartGateway, redis_url: str) -> None:
    gateway = await start_gateway(
        max_idle=0.1, max_delivery=1, reap_interval_s=0.05, dead_message_policy="Drop"
    )
    put = await gateway.client.post(gateway.source, content=b"slow")
    await Consumer(gateway.queue, redis_url).begin()
    assert await gateway.wait_ended(put.headers["X-Request-Id"]) == "dead"
    assert (await gateway.client.get("/easel/v1/dead")).json() == {"letters": [], "next": None}
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "1"
