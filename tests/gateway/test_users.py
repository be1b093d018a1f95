"""Whose a task is, what one user may send, and what the queue is told of a task's needs."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from easel_queue import Task

from .conftest import RunningGateway, StartGateway

UID = "X-EAS-QueueService-Redis-Uid"
TXT2IMG = "/sdapi/v1/txt2img?task_id=1"


async def next_task(gateway: RunningGateway, *models: str) -> Task:
    call = gateway.queue.tasks.reserve(worker="w", lease_ms=60_000, models=models, bypass=9)
    task = await gateway.queue.run(call)
    assert task is not None
    return task


async def queued(gateway: RunningGateway, uid: str = "", **body: Any) -> None:
    headers = {UID: uid} if uid else {}
    response = await gateway.client.post(TXT2IMG, json=body, headers=headers)
    assert response.status_code == 200, response.text


async def test_the_users_of_two_clients_take_turns(gateway: RunningGateway) -> None:
    for uid in ("ann", "ann", "ann", "bob"):
        await queued(gateway, uid)
    assert [(await next_task(gateway)).meta["user"] for _ in range(4)] == ["ann", "bob", "ann", "ann"]


async def test_a_tokens_name_goes_before_any_uid_and_a_requests_uid_before_the_headers(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(tokens="alice:secret-a,secret-b")
    body = {"alwayson_scripts": {"uid": "123"}}
    seen = []
    for token, sent in (("secret-a", body), ("secret-b", body), ("secret-b", {})):
        headers = {"Authorization": token, UID: "sdk"}
        response = await gateway.client.post(TXT2IMG, json=sent, headers=headers)
        assert response.status_code == 200, response.text
        seen.append((await next_task(gateway)).meta["user"])
    assert seen == ["alice", "123", "sdk"]


async def test_a_share_comes_from_the_settings(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(user_shares="ann=3")
    for _ in range(4):
        for uid in ("ann", "bob"):
            await queued(gateway, uid)
    served = [(await next_task(gateway)).meta["user"] for _ in range(4)]
    assert served.count("ann") == 3


@pytest.mark.parametrize("path", ["sdapi", "eas", "sync"])
async def test_too_many_waiting_tasks_of_one_user_are_refused_by_name(
    start_gateway: StartGateway, path: str
) -> None:
    gateway = await start_gateway(user_max_waiting=1)
    await queued(gateway, "ann")
    address = {"sdapi": TXT2IMG, "eas": gateway.source, "sync": "/sdapi/v1/txt2img"}[path]
    refused = await gateway.client.post(address, json={}, headers={UID: "ann"})
    assert refused.status_code == 429
    assert "EASEL_USER_MAX_WAITING" in refused.json()["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    await queued(gateway, "bob")
    assert (await gateway.attributes(gateway.source))["stream.length"] == "2", "nothing else was stored"


async def test_too_many_tasks_in_a_minute_are_told_when_to_come_back(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(user_tasks_per_minute=2)
    await queued(gateway, "ann")
    await queued(gateway, "ann")
    refused = await gateway.client.post(TXT2IMG, json={}, headers={UID: "ann"})
    assert refused.status_code == 429
    assert "EASEL_USER_TASKS_PER_MINUTE" in refused.json()["detail"]
    assert 50 <= int(refused.headers["Retry-After"]) <= 60
    await queued(gateway, "bob")


@pytest.mark.parametrize("shares", ["ann", "ann=", "ann=x", "ann=0", "ann=-1", "ann=1e9", "ann=nan"])
async def test_wrong_shares_are_refused_at_start(start_gateway: StartGateway, shares: str) -> None:
    with pytest.raises(ValueError, match="share"):
        await start_gateway(user_shares=shares)


async def test_a_checkpoint_is_known_however_it_is_spelled_and_by_either_address(
    start_gateway: StartGateway, tmp_path: Any
) -> None:
    gateway = await start_gateway(data_dir=tmp_path)
    folder = tmp_path / "models" / "Stable-diffusion" / "Dream"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    await queued(gateway, "cold")
    await queued(gateway, "one", override_settings={"sd_model_checkpoint": "dream.safetensors [0123abcd]"})
    eas = {"alwayson_scripts": {"sd_model_checkpoint": "DREAM"}}
    response = await gateway.client.post(f"{gateway.source}/sdapi/v1/txt2img", json=eas, headers={UID: "two"})
    assert response.status_code == 200
    served = [(await next_task(gateway, "checkpoint:Dream")).meta["user"] for _ in range(3)]
    assert served == ["one", "two", "cold"]


async def test_requests_that_differ_by_prompt_and_seed_are_of_one_batch(gateway: RunningGateway) -> None:
    picture = {"width": 256, "height": 256, "steps": 20}
    await queued(gateway, "a", prompt="a cat", seed=1, **picture)
    await queued(gateway, "b", prompt="a dog", seed=2, alwayson_scripts={"id_task": "mine"}, **picture)
    await queued(gateway, "c", prompt="a cat", seed=1, **{**picture, "steps": 21})
    await queued(gateway, "d", prompt="a cat", override_settings={"sd_model_checkpoint": "other"}, **picture)
    await queued(gateway, "e", prompt="a cat", sampler_name="DDIM", **picture)
    call = gateway.queue.tasks.reserve_batch(worker="w", lease_ms=60_000, limit=9, bypass=9)
    batch = await gateway.queue.run(call)
    assert [task.meta["user"] for task in batch] == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [b"\xff\x00sd_model_checkpoint", b"{}", b"[]", json.dumps({"sd_model_checkpoint": 1}).encode()],
)
async def test_an_eas_put_may_be_any_bytes(gateway: RunningGateway, body: bytes) -> None:
    response = await gateway.client.post(f"{gateway.source}/sdapi/v1/txt2img", content=body)
    assert response.status_code == 200
    page = await gateway.client.get(gateway.source, params={"_raw_": "false", "_length_": 1})
    assert base64.b64decode(page.json()[0]["data"]) == body
