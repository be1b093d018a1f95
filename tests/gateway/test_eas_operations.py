"""Every queue operation over HTTP."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest

from easel_gateway.eas.codecs import PROTOBUF_TYPE

from .conftest import Consumer, RunningGateway

AS_PROTOBUF = {"Accept": PROTOBUF_TYPE}
UID = {"X-EAS-QueueService-Redis-Uid": "u1", "X-EAS-QueueService-Redis-Gid": "eas"}


async def test_put_answers_the_bare_index_and_the_request_id(gateway: RunningGateway) -> None:
    payload = bytes(range(256))
    first = await gateway.client.post(gateway.source, content=payload)
    second = await gateway.client.post(f"{gateway.source}/", content=b"")
    assert (first.status_code, first.content, second.content) == (200, b"1", b"2")
    assert first.headers["X-Eas-Queueservice-Request-Id"] == first.headers["X-Request-Id"]
    (item,) = (await gateway.client.get(gateway.source, params={"_index_": "1"})).json()
    assert base64.b64decode(item["data"]) == payload
    assert item["tags"] == {"requestId": first.headers["X-Request-Id"]}
    assert "message" not in item


async def test_the_path_behind_the_service_travels_with_the_task(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    headers = {"Content-Type": "application/json", "X-EAS-QueueService-Redis-Uid": "someone"}
    await gateway.client.post(f"{gateway.source}/sdapi/v1/txt2img?a=b", content=b"not json", headers=headers)
    task = await consumer.take()
    assert task.meta == {
        "path": "/sdapi/v1/txt2img",
        "user": "someone",
        "content_type": "application/json",
    }
    assert task.tags["a"] == "b"
    assert task.data == b"not json", "what is wrong with it is told in the sink"


async def test_operations_work_on_the_suffixed_address_too(gateway: RunningGateway) -> None:
    suffixed = f"{gateway.source}/sdapi/v1/txt2img"
    await gateway.client.post(suffixed, content=b"x")
    assert (await gateway.attributes(suffixed))["stream.length"] == "1"
    response = await gateway.client.delete(suffixed, params={"_trunc_": "true", "_index_": "2"})
    assert response.status_code == 200
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"


async def test_another_service_is_not_found(gateway: RunningGateway) -> None:
    for response in (
        await gateway.client.post("/api/predict/other", content=b"x"),
        await gateway.client.get("/api/predict/other/sink"),
        await gateway.client.get("/api/predict/"),
    ):
        assert response.status_code == 404
        assert response.json()["detail"].startswith("No service")


async def test_an_empty_get_is_204_and_200_for_protobuf(gateway: RunningGateway) -> None:
    plain = await gateway.client.get(gateway.sink)
    assert (plain.status_code, plain.content) == (204, b"")
    binary = await gateway.client.get(gateway.sink, headers=AS_PROTOBUF)
    assert (binary.status_code, binary.content) == (200, b"")
    assert binary.headers["Content-Type"] == PROTOBUF_TYPE


async def test_get_removes_unless_told_not_to(gateway: RunningGateway) -> None:
    await gateway.put_result()
    keep = {"_index_": "0", "_length_": "1", "_auto_delete_": "false"}
    for _ in range(2):
        assert len((await gateway.client.get(gateway.sink, params=keep)).json()) == 1
    assert len((await gateway.client.get(gateway.sink, params={"_raw_": "false"})).json()) == 1
    assert (await gateway.client.get(gateway.sink)).status_code == 204


async def test_get_by_index_length_tag_and_request_id(gateway: RunningGateway) -> None:
    for number in range(1, 6):
        await gateway.put_result(f"result {number}", colour="red" if number % 2 else "blue")
    get = gateway.client.get
    keep = {"_auto_delete_": "false"}

    async def indexes(**params: str) -> list[int]:
        response = await get(gateway.sink, params={**keep, **params})
        return [item["index"] for item in response.json()] if response.status_code == 200 else []

    assert await indexes() == [1]
    assert await indexes(_index_="2", _length_="3") == [2, 3, 4]
    assert await indexes(_index_="-1") == [5]
    assert await indexes(_index_="18446744073709551615") == [5]
    assert await indexes(_length_="9", colour="blue") == [2, 4]
    assert await indexes(_length_="9", colour="green") == []
    assert await indexes(_index_="6") == []
    (item,) = (await get(gateway.sink, params={**keep, "_index_": "3"})).json()
    assert await indexes(requestId=item["tags"]["requestId"]) == [3]
    assert await indexes(requestId="unknown") == []


async def test_a_long_queue_is_searched_to_its_end(gateway: RunningGateway) -> None:
    append = gateway.queue.sink.append
    for number in range(1100):
        tags = {"wanted": "yes"} if number == 1099 else {}
        await gateway.queue.run(append(b"x", request_id=f"r{number}", tags=tags))
    (item,) = (
        await gateway.client.get(gateway.sink, params={"wanted": "yes", "_auto_delete_": "false"})
    ).json()
    assert item["index"] == 1100
    count = await gateway.client.get(gateway.sink, params={"_count_": "true", "wanted": "yes"})
    assert count.text == "1"
    assert (await gateway.client.get(gateway.sink, params={"_count_": "true"})).text == "1100"
    response = await gateway.client.delete(gateway.sink, params={"_trunc_": "true", "_index_": "1101"})
    assert response.status_code == 200
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "0"


async def test_raw_is_the_bare_payload(gateway: RunningGateway) -> None:
    await gateway.put_result("bare")
    response = await gateway.client.get(gateway.sink, params={"_raw_": "true"})
    assert response.content == b"bare"
    assert response.headers["X-Eas-Queueservice-Request-Id"]
    assert (await gateway.client.get(gateway.sink, params={"_raw_": "true"})).status_code == 204


async def test_a_long_poll_wakes_when_something_comes(gateway: RunningGateway) -> None:
    await gateway.put_result("other", task="a")
    poll = asyncio.create_task(
        gateway.client.get(gateway.sink, params={"_timeout_": "15s", "task": "b"}, headers=AS_PROTOBUF)
    )
    await asyncio.wait({poll}, timeout=0.1)  # long enough that the poll waits; correct either way
    started = time.monotonic()
    await gateway.put_result("wanted", task="b")
    response = await poll
    assert response.status_code == 200
    assert b"wanted" in response.content
    assert time.monotonic() - started < 10


async def test_a_long_poll_for_several_answers_early_or_with_what_there_is(gateway: RunningGateway) -> None:
    await gateway.put_result("one")
    params = {"_timeout_": "500ms", "_length_": "2"}
    started = time.monotonic()
    response = await gateway.client.get(gateway.sink, params=params)
    waited = time.monotonic() - started
    assert len(response.json()) == 1
    assert waited > 0.1, "it hoped for a second item"
    poll = asyncio.create_task(gateway.client.get(gateway.sink, params={"_timeout_": "15s", "_length_": "2"}))
    await gateway.put_result("two")
    await gateway.put_result("three")
    assert len((await poll).json()) == 2


async def test_each_item_goes_to_one_of_many_pollers(gateway: RunningGateway) -> None:
    params = {"_timeout_": "15s", "_raw_": "true"}
    polls = [asyncio.create_task(gateway.client.get(gateway.sink, params=params)) for _ in range(8)]
    await asyncio.wait(polls, timeout=0.2)
    for number in range(8):
        await gateway.put_result(str(number))
    answers = await asyncio.gather(*polls)
    assert sorted(answer.text for answer in answers) == [str(number) for number in range(8)]


async def test_a_poller_that_hung_up_takes_nothing(gateway: RunningGateway) -> None:
    poll = asyncio.create_task(gateway.client.get(gateway.sink, params={"_timeout_": "15s"}))
    await asyncio.wait({poll}, timeout=0.2)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    await gateway.client.get("/healthz")  # its own connection's end has reached the server before this answer
    await gateway.put_result()
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "1"


async def test_attributes_are_text_and_name_the_headers(gateway: RunningGateway) -> None:
    await gateway.put_result()
    await gateway.put_result()
    attributes = await gateway.attributes(gateway.sink)
    assert all(isinstance(value, str) for value in attributes.values())
    assert attributes["stream.length"] == "2"
    assert attributes["stream.firstEntry"] == "1"
    assert attributes["stream.lastEntry"] == "2"
    assert attributes["meta.header.user"] == "X-EAS-QueueService-Redis-Uid"
    assert attributes["meta.header.group"] == "X-EAS-QueueService-Redis-Gid"
    assert attributes["meta.header.priority"]
    assert attributes["meta.maxPayloadBytes"] == str(gateway.settings.max_body_bytes)
    assert attributes["consumers.stats.total"] == attributes["consumers.status.total"] == "0"
    binary = await gateway.client.get(gateway.sink, params={"_attrs_": "true"}, headers=AS_PROTOBUF)
    assert b"\x0a\x0dstream.length\x12\x012" in binary.content


async def test_the_priority_header_named_by_the_attributes_works(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    name = (await gateway.attributes(gateway.source))["meta.header.priority"]
    await gateway.client.post(gateway.source, content=b"normal")
    await gateway.client.post(gateway.source, content=b"urgent", headers={name: "1"})
    count = await gateway.client.get(gateway.source, params={"_count_": "true", "_priority_": "1"})
    assert count.text == "1"
    assert (await consumer.take()).data == b"urgent"


async def test_search_tells_who_has_it_and_how_many_are_ahead(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    for _ in range(3):
        await gateway.client.post(gateway.source, content=b"x")
    await consumer.begin()
    group = {"X-EAS-QueueService-Redis-Gid": gateway.settings.service}
    params = {"_search_": "true", "_index_": "1"}
    running = (await gateway.client.get(gateway.source, params=params, headers=group)).json()
    assert running == {
        "ConsumerId": f"{gateway.settings.service}.consumer",
        "IsPending": True,
        "WaitCount": 0,
    }
    waiting = (
        await gateway.client.get(gateway.source, params={**params, "_index_": "3"}, headers=group)
    ).json()
    assert (waiting["IsPending"], waiting["WaitCount"]) == (False, 1)
    missing = await gateway.client.get(gateway.source, params={**params, "_index_": "9"}, headers=group)
    assert (missing.status_code, missing.text) == (404, "no data in stream")


async def test_commit_and_delete_remove_and_may_be_repeated(gateway: RunningGateway) -> None:
    for _ in range(4):
        await gateway.put_result()
    for _ in range(2):
        done = await gateway.client.put(gateway.sink, params={"_indexes_": "1,2"}, headers=UID)
        assert (done.status_code, done.text) == (200, "OK")
        gone = await gateway.client.delete(gateway.sink, params={"_indexes_": "3"})
        assert (gone.status_code, gone.text) == (200, "OK")
    attributes = await gateway.attributes(gateway.sink)
    assert (attributes["stream.length"], attributes["stream.firstEntry"]) == ("1", "4")
    unknown = await gateway.client.put(gateway.sink, params={"_indexes_": "99,18446744073709551615"})
    assert unknown.status_code == 200


async def test_truncate_keeps_the_index_itself(gateway: RunningGateway) -> None:
    for _ in range(3):
        await gateway.put_result()
    await gateway.client.delete(gateway.sink, params={"_trunc_": "true", "_index_": "3"})
    assert (await gateway.attributes(gateway.sink))["stream.firstEntry"] == "3"
    empty = await gateway.client.delete(gateway.source, params={"_trunc_": "true", "_index_": "1"})
    assert empty.status_code == 200


async def test_the_rear_queue_is_reached_by_a_header(gateway: RunningGateway, consumer: Consumer) -> None:
    rear = {"X-EAS-QueueService-Access-Rear": "true"}
    put = await gateway.client.post(gateway.source, content=b"dead", headers=rear)
    assert put.status_code == 200
    assert (await gateway.client.get(gateway.source)).status_code == 204
    (item,) = (
        await gateway.client.get(
            gateway.source, headers=rear, params={"requestId": put.headers["X-Request-Id"]}
        )
    ).json()
    assert base64.b64decode(item["data"]) == b"dead"
    assert (await gateway.client.get(gateway.sink, headers=rear)).status_code == 404


async def test_a_dead_letter_is_in_the_rear_with_its_index(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    await gateway.client.post(gateway.source, content=b"poison")
    task = await consumer.begin()
    await gateway.queue.run(gateway.queue.tasks.fail(task, error="broken", data=b"failed", max_delivery=1))
    rear = {"X-EAS-QueueService-Access-Rear": "true"}
    (letter,) = (await gateway.client.get(gateway.source, headers=rear)).json()
    assert letter["index"] == task.index
    (result,) = (await gateway.client.get(gateway.sink)).json()
    assert base64.b64decode(result["data"]) == b"failed"


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("GET", {"_length_": "0"}, "_length_"),
        ("GET", {"_length_": "x"}, "_length_"),
        ("GET", {"_timeout_": "soon"}, "_timeout_"),
        ("GET", {"_search_": "true", "_index_": "-5"}, "_index_"),
        ("PUT", {}, "_indexes_"),
        ("DELETE", {}, "_indexes_"),
        ("DELETE", {"_trunc_": "true"}, "_index_"),
        ("POST", {"_priority_": "-1"}, "_priority_"),
    ],
)
async def test_a_wrong_parameter_is_a_400_that_names_it(
    gateway: RunningGateway, method: str, params: dict[str, str], named: str
) -> None:
    response = await gateway.client.request(method, gateway.sink, params=params)
    assert response.status_code == 400
    assert named in response.json()["detail"]


async def test_other_verbs_are_not_allowed(gateway: RunningGateway) -> None:
    assert (await gateway.client.patch(gateway.sink)).status_code == 405
