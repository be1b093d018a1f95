"""Every A1111 call that a worker serves: its address, its body, its queue, its place in the OpenAPI."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from easel_contract.extras import BATCH_PATH, INTERROGATE_PATH, SINGLE_PATH
from easel_contract.requests import IMG2IMG_PATH, TXT2IMG_PATH
from easel_worker.handlers.registry import load_handlers
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

from .conftest import Consumer, RunningGateway
from .test_sdapi_options import kin_of


def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


CALLS: dict[str, dict[str, Any]] = {
    TXT2IMG_PATH: {"prompt": "a cat", "width": 64, "height": 64},
    IMG2IMG_PATH: {"prompt": "a cat", "init_images": [picture()], "mask": picture()},
    SINGLE_PATH: {"image": picture(), "upscaler_1": "Lanczos"},
    BATCH_PATH: {"imageList": [{"data": picture(), "name": "red.png"}]},
    INTERROGATE_PATH: {"image": picture(), "model": "clip"},
}
WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    TXT2IMG_PATH: ({"steps": "many"}, 422, "steps"),
    IMG2IMG_PATH: ({"prompt": "a cat"}, 404, "Init image not found"),
    SINGLE_PATH: ({"image": "%"}, 422, "image"),
    BATCH_PATH: ({"imageList": []}, 422, "imageList"),
    INTERROGATE_PATH: ({}, 404, "Image not found"),
}


def test_these_are_all_calls_of_a_worker() -> None:
    registry = load_handlers(WorkerSettings().handlers, WorkerSettings(), Stats(CollectorRegistry()))
    assert {path for path in registry.paths if path.startswith("/sdapi/")} == CALLS.keys()


@pytest.mark.parametrize("path", CALLS)
async def test_it_is_answered_queued_and_put_as_eas_does(
    gateway: RunningGateway, consumer: Consumer, path: str
) -> None:
    body = CALLS[path]
    for address in (path, f"{gateway.source}.sync{path}?task_id=t"):
        call = asyncio.create_task(gateway.client.post(address, json=body))
        task = await consumer.begin()
        assert (task.meta["path"], json.loads(task.data)) == (path, body)
        await consumer.finish(task, b'{"done": true}')
        assert (await call).json() == {"done": True}

    queued = await gateway.client.post(path, params={"task_id": "queued"}, json=body)
    put = await gateway.client.post(gateway.source + path, params={"task_id": "put"}, json=body)
    assert [response.status_code for response in (queued, put)] == [200, 200]
    for name, response in (("queued", queued), ("put", put)):
        task = await consumer.begin()
        assert (task.meta["path"].strip("/"), task.tags["task_id"]) == (path.strip("/"), name)
        assert (json.loads(task.data), str(task.index)) == (body, response.text)
        await consumer.finish(task, b"{}")
    assert (await gateway.attributes(gateway.sink))["stream.length"] == "2"


@pytest.mark.parametrize("path", WRONG)
async def test_a_wrong_body_is_refused_before_it_is_queued(gateway: RunningGateway, path: str) -> None:
    body, status, says = WRONG[path]
    for params in ({}, {"task_id": "t"}):
        response = await gateway.client.post(path, json=body, params=params)
        assert (response.status_code, says in response.text) == (status, True), response.text
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"
    # The queue's own address stores any bytes: its worker tells what is wrong.
    assert (await gateway.client.post(gateway.source + path, json=body)).status_code == 200


async def test_the_openapi_has_each_with_its_body(gateway: RunningGateway) -> None:
    schema = (await gateway.client.get("/openapi.json")).json()
    for path, body in CALLS.items():
        shown = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        model = schema["components"]["schemas"][shown["$ref"].rpartition("/")[2]]
        assert body.keys() <= model["properties"].keys()


async def test_a_checkpoint_is_known_wherever_a_body_names_it(gateway: RunningGateway) -> None:
    body = CALLS[IMG2IMG_PATH] | {"override_settings": {"sd_model_checkpoint": "dreams"}}
    for address in (IMG2IMG_PATH + "?task_id=t", gateway.source + IMG2IMG_PATH):
        assert (await gateway.client.post(address, json=body)).status_code == 200
    by_text = {
        "infotext": "a cat\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x64, Model: dreams",
        "prompt": "a cat",
    }
    assert (await gateway.client.post(gateway.source, json=by_text)).status_code == 200
    for index in (1, 2, 3):
        assert (await kin_of(gateway, index))[-1] == "m:checkpoint:dreams"
