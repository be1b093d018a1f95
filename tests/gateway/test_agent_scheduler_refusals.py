"""What the scheduler's API refuses: wrong requests, other users' tasks, unknown ones."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import RunningGateway, StartGateway
from .scheduling import NOT_FOUND, ROOT, call, pending, submit

USERS = "alice:secret-alice,bob:secret-bob"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("{}", "list"),
        ('[{"type": "txt2img", "params": {}}, {"type": "video", "params": {}}]', "task 1"),
        ('[{"type": "txt2img", "params": "{"}]', "task 0"),
        ('[{"type": "txt2img", "params": {}, "name": "\\ud800"}]', "task 0"),
        ('[{"type": "txt2img", "params": {"steps": "many"}}]', "steps"),
        ('[{"type": "img2img", "params": {"prompt": "\\ud800"}}]', "surrogate"),
        ('[{"type": "img2img", "params": {"init_images": ["x"], "mask_blur": -1}}]', "mask_blur"),
    ],
)
async def test_a_wrong_import_queues_nothing(gateway: RunningGateway, content: str, says: str) -> None:
    response = await gateway.client.post(f"{ROOT}/import", json={"content": content})
    assert response.status_code == 422
    assert says in response.text
    assert await pending(gateway) == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 404, "Init image not found"),
        ({"init_images": ["%"]}, 422, "Invalid encoded image"),
        ({"init_images": [""], "resize_mode": 4}, 422, "resize_mode"),
        ({"init_images": ["x"], "sampler_name": "nothing"}, 400, "Sampler not found"),
    ],
)
async def test_a_wrong_img2img_is_refused_before_it_waits(
    gateway: RunningGateway, body: dict[str, Any], status: int, says: str
) -> None:
    response = await gateway.client.post(f"{ROOT}/queue/img2img", json=body)
    assert (response.status_code, says in response.text) == (status, True), response.text
    assert await pending(gateway) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"callback_url": "http://example.com/"}', "callback_url"),
        (b'{"checkpoint": 1}', "checkpoint"),
        (b'{"width": 100000}', "width"),
        (b'{"alwayson_scripts": {"save_dir": "../x"}}', "save_dir"),
        (b'{"alwayson_scripts": []}', "alwayson_scripts"),
        (b'{"override_settings": 1, "checkpoint": "x"}', "override_settings"),
        (b'{"cfg_scale": NaN}', "body"),
        (b"[]", "body"),
    ],
)
async def test_a_wrong_request_is_refused_and_leaves_nothing(
    gateway: RunningGateway, body: bytes, field: str
) -> None:
    response = await gateway.client.post(f"{ROOT}/queue/txt2img", content=body)
    assert response.status_code == 422
    assert field in response.text
    assert (await call(gateway, "GET", "/export")) == []


async def test_a_refused_put_leaves_no_record(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(queue_max_length=1)
    await submit(gateway)
    response = await gateway.client.post(f"{ROOT}/queue/txt2img", json={})
    assert response.status_code == 503
    assert len(await call(gateway, "GET", "/export")) == 1


async def test_each_user_sees_and_touches_own_tasks_only(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(tokens=USERS)
    theirs, own = await submit(gateway, "bob"), await submit(gateway, "alice")
    assert await pending(gateway, "alice") == [own]
    for method, path in (
        ("GET", f"/task/{theirs}"),
        ("GET", f"/task/{theirs}/position"),
        ("GET", f"/task/{theirs}/results"),
        ("DELETE", f"/task/{theirs}"),
        ("POST", f"/task/{theirs}/move/top"),
        ("POST", f"/task/{theirs}/bookmark"),
        ("POST", f"/task/{theirs}/requeue"),
    ):
        assert await call(gateway, method, path, "alice") == NOT_FOUND
    await call(gateway, "POST", "/queue/clear", "alice")
    assert await pending(gateway, "bob") == [theirs]
    paused = await call(gateway, "POST", "/queue/pause", "alice")
    assert (paused["success"], "EASEL_INTERRUPT_ANYONE" in paused["message"]) == (False, True)
    assert (await call(gateway, "GET", "/queue", "bob"))["paused"] is False


async def test_the_operator_may_let_everybody_see_everything(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(tokens=USERS, interrupt_anyone=True)
    theirs = await submit(gateway, "bob")
    assert await pending(gateway, "alice") == [theirs]
    assert (await call(gateway, "POST", "/queue/pause", "alice"))["success"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/task/x"),
        ("GET", "/task/x/position"),
        ("GET", "/task/x/results"),
        ("DELETE", "/task/x"),
        ("POST", "/task/x/run"),
        ("POST", "/task/x/requeue"),
        ("POST", "/task/x/rename?name=y"),
        ("POST", "/task/x/bookmark"),
        ("POST", "/task/x/move/top"),
        ("POST", "/run/x"),
        ("POST", "/requeue/x"),
        ("POST", "/delete/x"),
        ("POST", "/move/x/top"),
        ("POST", "/bookmark/x"),
        ("POST", "/unbookmark/x"),
        ("POST", "/rename/x?name=y"),
        ("GET", "/results/x"),
    ],
)
async def test_an_unknown_task_is_told_with_200(gateway: RunningGateway, method: str, path: str) -> None:
    assert await call(gateway, method, path) == NOT_FOUND


async def test_every_call_wants_a_token(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(tokens=USERS)
    schema = (await gateway.client.get("/openapi.json", headers={"Authorization": "secret-bob"})).json()
    routes = [
        (method, path)
        for path, operations in schema["paths"].items()
        if path.startswith(ROOT)
        for method in operations
    ]
    assert len(routes) >= 34
    for method, path in routes:
        response = await gateway.client.request(method, path.replace("{", "").replace("}", ""))
        assert response.status_code == 401, path
