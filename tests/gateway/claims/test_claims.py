"""Large bodies over HTTP: they lie in the store, come back whole, and go with their items."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from easel_gateway.eas.codecs import PROTOBUF_TYPE
from easel_queue import QueueUnavailableError, Reply

from ..conftest import RunningGateway, StartGateway
from ..eas_clients import streaming, watching
from .conftest import BODY, LARGE, PATH, REAR, Worker, files, is_there, put, until, until_empty


async def test_redis_carries_a_reference_only(gateway: RunningGateway, folder: Path) -> None:
    await put(gateway, gateway.source)
    await put(gateway, gateway.sink)
    await put(gateway, gateway.source, headers=REAR)
    for queue in ("in", "sink", "rear"):
        item = gateway.queue.keys.of(queue, "e:1" if queue == "sink" else f"e:{1 + (queue == 'rear')}")
        used = await gateway.queue._redis.memory_usage(item)
        assert used < 2000, (queue, used)
    assert [len(path.read_bytes()) for path in files(folder)] == [len(BODY)] * 3
    assert (await gateway.attributes(gateway.source))["stream.bytes"] == str(
        int(await gateway.queue._redis.hget(gateway.queue.keys.of("in", "e:1"), "size"))
    )
    assert int((await gateway.attributes(gateway.sink))["stream.bytes"]) > len(BODY)


async def test_a_body_up_to_the_threshold_stays_in_redis_and_costs_one_call(
    gateway: RunningGateway, folder: Path
) -> None:
    sent = []
    own = gateway.server.app.state.gateway.queue
    run = own.run
    duties = {"reap_tasks", "sweep_watchers", "sweep_claims"}

    async def counted(call: Any) -> Any:
        sent.append(call.script)
        return await run(call)

    own.run = counted
    await put(gateway, gateway.sink, BODY[:LARGE])
    assert [script for script in sent if script not in duties] == ["append_entry"]
    assert files(folder) == []
    stored = await gateway.queue._redis.hgetall(gateway.queue.keys.of("sink", "e:1"))
    assert stored[b"data"] == BODY[:LARGE]
    assert b"claim" not in stored


async def test_nothing_is_claimed_when_it_is_off(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(queue_claim_bytes=0)
    await put(gateway, gateway.sink)
    assert files(Path(gateway.settings.data_dir, "claims")) == []
    assert (await gateway.client.get(gateway.sink, params={"_raw_": "true"})).content == BODY


READS: dict[str, dict[str, Any]] = {
    "json": {"params": {}},
    "protobuf": {"params": {}, "headers": {"Accept": PROTOBUF_TYPE}},
    "raw": {"params": {"_raw_": "true"}},
    "many": {"params": {"_length_": "5"}},
    "by tag": {"params": {"colour": "red"}},
    "newest": {"params": {"_index_": "-1"}},
    "long poll": {"params": {"_length_": "2", "_timeout_": "500ms"}},
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("form", list(READS))
@pytest.mark.parametrize("queue", ["in", "sink", "rear"])
async def test_every_get_brings_it_whole(
    gateway: RunningGateway, folder: Path, queue: str, form: str, keep: bool
) -> None:
    path = gateway.sink if queue == "sink" else gateway.source
    headers = REAR if queue == "rear" else {}
    await put(gateway, path, params={"colour": "red"}, headers=headers)
    asked = READS[form]
    params = {**asked["params"], "_auto_delete_": "false" if keep else "true"}
    answer = await gateway.client.get(path, params=params, headers={**headers, **asked.get("headers", {})})
    assert answer.status_code == 200
    if form == "raw":
        assert answer.content == BODY
    elif form == "protobuf":
        assert BODY in answer.content
    else:
        (item,) = answer.json()
        assert base64.b64decode(item["data"]) == BODY
        assert item["tags"]["colour"] == "red"
    if keep:
        again = await gateway.client.get(path, params={"_raw_": "true"}, headers=headers)
        assert again.content == BODY
    await until_empty(folder)


async def test_small_and_large_items_come_in_order(gateway: RunningGateway, folder: Path) -> None:
    bodies = [b"small", BODY, b"", BODY[:-1], b"last"]
    for body in bodies:
        await put(gateway, gateway.sink, body)
    answer = await gateway.client.get(gateway.sink, params={"_length_": "9"})
    assert [base64.b64decode(item["data"]) for item in answer.json()] == bodies
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "0"
    await until_empty(folder)


async def test_of_two_results_with_one_id_the_one_that_was_read_goes(
    gateway: RunningGateway, worker: Worker
) -> None:
    request_id = await put(gateway, gateway.source, b"{}")
    await worker.answer(await worker.begin(), BODY, dead=True)
    await gateway.client.post(f"/easel/v1/dead/{request_id}/requeue")
    await worker.answer(await worker.begin(), BODY[::-1])
    for body in (BODY, BODY[::-1]):
        assert (await gateway.client.get(gateway.sink, params={"_raw_": "true"})).content == body


def cut_off(gateway: RunningGateway, goes_away: Callable[[Any], bool]) -> None:
    """Redis does not answer the gateway's calls that `goes_away` names."""
    queue = gateway.server.app.state.gateway.queue
    run = queue.run

    async def cut(call: Any) -> Any:
        if goes_away(call):
            raise QueueUnavailableError("away")
        return await run(call)

    queue.run = cut


async def test_what_was_removed_before_redis_went_away_is_answered(gateway: RunningGateway) -> None:
    for _ in range(3):
        await put(gateway, gateway.sink)
    removals: list[Any] = []

    def second_removal(call: Any) -> bool:
        if call.script == "get_entries" and call.args[-2] == 1:
            removals.append(call)
        return len(removals) > 1 and call is removals[-1]

    cut_off(gateway, second_removal)
    answer = await gateway.client.get(gateway.sink, params={"_length_": "3"})
    assert [item["index"] for item in answer.json()] == [1]
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "2"


async def test_a_reply_that_is_here_is_answered_although_redis_went_away(
    gateway: RunningGateway, worker: Worker
) -> None:
    cut_off(gateway, lambda call: call.script == "take_reply" and call.args == (1,))
    call = asyncio.create_task(gateway.client.post(PATH, json={"prompt": "a cat"}))
    await worker.answer(await worker.begin(), BODY)
    assert (await call).content == BODY


async def test_two_readers_never_get_the_same_large_item(gateway: RunningGateway) -> None:
    for _ in range(12):
        await put(gateway, gateway.sink)

    async def drain() -> list[int]:
        got = []
        while (answer := await gateway.client.get(gateway.sink, params={"_length_": "2"})).status_code == 200:
            got += [item["index"] for item in answer.json()]
        return got

    first, second = await asyncio.gather(drain(), drain())
    assert sorted(first + second) == list(range(1, 13))


async def test_watches_bring_it_whole_and_commits_remove_it(gateway: RunningGateway, folder: Path) -> None:
    for _ in range(3):
        await put(gateway, gateway.sink)
    async with watching(gateway) as watcher:
        for index in (1, 2, 3):
            assert await watcher.next() == (index, BODY)
        await watcher.commit(1, 2, 3)
    await until_empty(folder)
    await put(gateway, gateway.sink)
    async with streaming(gateway, _auto_commit_="true") as stream:
        assert BODY in await stream.frame()
        await until_empty(folder)


async def test_a_watch_of_the_index_only_fetches_nothing(gateway: RunningGateway, folder: Path) -> None:
    await put(gateway, gateway.sink)
    for path in files(folder):
        path.unlink()
    async with watching(gateway, _index_only_="true") as watcher:
        assert await watcher.next() == (1, b"")


async def test_a_synchronous_caller_gets_a_large_result(
    gateway: RunningGateway, folder: Path, worker: Worker
) -> None:
    body = json.dumps({"prompt": "a cat", "negative_prompt": "x" * 2 * LARGE}).encode()
    call = asyncio.create_task(gateway.client.post(PATH, content=body))
    task = await worker.begin()
    assert task.claim is not None
    assert worker.depot.fetch(task.claim) == body
    await worker.answer(task, BODY)
    response = await call
    assert (response.status_code, response.content) == (200, BODY)
    await until_empty(folder)


async def test_a_keyed_call_gets_its_large_result_again(
    gateway: RunningGateway, folder: Path, worker: Worker
) -> None:
    request = {"json": {"prompt": "a cat"}, "headers": {"Idempotency-Key": "k"}}
    call = asyncio.create_task(gateway.client.post(PATH, **request))
    await worker.answer(await worker.begin(), BODY)
    assert (await call).content == BODY
    assert (await gateway.client.post(PATH, **request)).content == BODY
    assert len(files(folder)) == 1


async def test_a_dead_letter_is_shown_whole_and_requeued_without_copying(
    gateway: RunningGateway, folder: Path, worker: Worker
) -> None:
    text = json.dumps({"prompt": "p" * 2 * LARGE})
    request_id = await put(gateway, gateway.source, text.encode())
    (stored,) = files(folder)
    await worker.answer(await worker.begin(), BODY, dead=True)
    letter = (await gateway.client.get(f"/easel/v1/dead/{request_id}")).json()
    assert (letter["body_encoding"], letter["body"]) == ("json", json.loads(text))
    rear = await gateway.client.get(
        gateway.source, params={"_raw_": "true", "_auto_delete_": "false"}, headers=REAR
    )
    assert rear.text == text
    assert (await gateway.client.post(f"/easel/v1/dead/{request_id}/requeue")).status_code == 200
    task = await worker.begin()
    assert task.claim is not None
    assert worker.depot.fetch(task.claim) == text.encode()
    assert stored in files(folder)
    assert len(files(folder)) == 2, "the body, and the failed result"
    await worker.answer(task, b"done")
    await gateway.client.delete(gateway.sink, params={"_index_": "100", "_trunc_": "true"})
    await until_empty(folder)


async def test_a_put_repeated_under_its_key_leaves_one_file(gateway: RunningGateway, folder: Path) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(
        *(gateway.client.post(gateway.source, content=BODY, headers=headers) for _ in range(5))
    )
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "1")}
    await until(lambda: len(files(folder)) == 1)
    assert (await gateway.client.post(gateway.source, content=BODY, headers=headers)).text == "1"
    assert len(files(folder)) == 1


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"queue_max_length": 1}, 503),
        ({"queue_max_bytes": len(BODY) + 300}, 503),
        ({"queue_max_bytes": len(BODY)}, 413),
    ],
)
async def test_a_refused_put_stores_no_file(
    start_gateway: StartGateway, settings: dict[str, int], status: int
) -> None:
    gateway = await start_gateway(queue_claim_bytes=LARGE, **settings)
    await put(gateway, gateway.source, b"x" * 300)
    assert (await gateway.client.post(gateway.source, content=BODY)).status_code == status
    assert not is_there(gateway.settings.data_dir / "claims"), "refused before anything was written"


def lose(folder: Path) -> None:
    for path in files(folder):
        path.unlink()


async def _get(gateway: RunningGateway) -> tuple[bytes, dict[str, str], str]:
    (item,) = (await gateway.client.get(gateway.sink)).json()
    return base64.b64decode(item["data"]), item["tags"], item["message"]


async def _stream(gateway: RunningGateway) -> tuple[bytes, dict[str, str], str]:
    async with streaming(gateway, accept="application/json", _auto_commit_="true") as stream:
        item = json.loads(await stream.frame())
    return base64.b64decode(item["data"]), item["tags"], item["message"]


@pytest.mark.parametrize("read", [_get, _stream])
async def test_a_body_that_is_missing_is_delivered_as_an_error(
    gateway: RunningGateway,
    folder: Path,
    read: Callable[[RunningGateway], Awaitable[tuple[bytes, dict[str, str], str]]],
) -> None:
    await put(gateway, gateway.sink, params={"task_id": "t"})
    lose(folder)
    data, tags, message = await read(gateway)
    assert (tags["task_id"], tags["lastCode"]) == ("t", "500")
    assert "missing from the store" in message
    body = json.loads(data)
    assert (body["error"], body["parameters"]["error_msg"]) == ("ClaimMissingError", message)


async def test_a_missing_reply_or_letter_says_so(
    gateway: RunningGateway, folder: Path, worker: Worker
) -> None:
    request_id = await put(gateway, gateway.source)
    await worker.answer(await worker.begin(), b"dead", dead=True)
    lose(folder)
    letter = (await gateway.client.get(f"/easel/v1/dead/{request_id}")).json()
    assert (letter["body"], letter["body_encoding"]) == (None, "missing")
    assert "missing from the store" in letter["body_error"]

    await gateway.queue.run(gateway.queue.tasks.put(b"{}", request_id="r", reply=Reply.DIRECT))
    task = await worker.begin()
    worker.depot.bring = lambda claim, data: replace(claim, brought=True)  # type: ignore[method-assign]
    headers = {"Idempotency-Key": "k"}
    await worker.answer(task, BODY)
    call = asyncio.create_task(gateway.client.post(PATH, json={"prompt": "a cat"}, headers=headers))
    await worker.answer(await worker.begin(), BODY)
    response = await call
    assert (response.status_code, response.json()["error"]) == (500, "ClaimMissingError")
