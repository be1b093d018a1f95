"""The calls of `/controlnet` that a worker serves: address, body, queue, refusals."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import webuiapi
from PIL import Image

from easel_contract.controlnet.detect import DETECT_PATH, UNFIT, parse_detect
from easel_contract.controlnet.poses import RENDER_POSE_PATH
from easel_contract.limits import Limits
from easel_contract.requests import IMG2IMG_PATH, TXT2IMG_PATH

from .conftest import Consumer, RunningGateway
from .test_sdapi_calls import picture

POSE = {
    "people": [{"pose_keypoints_2d": [1.0] * 54}],
    "animals": [],
    "canvas_width": 64,
    "canvas_height": 64,
}
UNIT = {"module": "canny", "model": "edges", "input_image": picture()}
CALLS: dict[str, Any] = {
    DETECT_PATH: {"controlnet_module": "canny", "controlnet_images": [picture()]},
    RENDER_POSE_PATH: [POSE],
}


@pytest.mark.parametrize("path", CALLS)
async def test_it_is_answered_queued_and_put_as_eas_does(
    gateway: RunningGateway, consumer: Consumer, path: str
) -> None:
    body = CALLS[path]
    for address in (path, f"{gateway.source}.sync{path}?task_id=t"):
        call = asyncio.create_task(gateway.client.post(address, json=body))
        task = await consumer.begin()
        assert (task.meta["path"], json.loads(task.data)) == (path, body)
        await consumer.finish(task, b'{"info": "Success"}')
        assert (await call).json() == {"info": "Success"}

    queued = await gateway.client.post(path, params={"task_id": "queued"}, json=body)
    put = await gateway.client.post(gateway.source + path, params={"task_id": "put"}, json=body)
    for name, response in (("queued", queued), ("put", put)):
        assert response.status_code == 200
        task = await consumer.begin()
        assert (task.meta["path"].strip("/"), task.tags["task_id"]) == (path.strip("/"), name)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"controlnet_module": "INVALID", "controlnet_images": [picture()]}, "Module not available"),
        *(
            ({"controlnet_module": name, "controlnet_images": [picture()]}, "Module not supported")
            for name in UNFIT
        ),
        ({"controlnet_module": "canny"}, "No image selected"),
        (
            {"controlnet_module": "inpaint_only", "controlnet_images": [picture()]},
            "Preprocessor inpaint_only requires `controlnet_masks` param.",
        ),
    ],
)
async def test_detects_refusals_are_upstreams(
    gateway: RunningGateway, body: dict[str, Any], detail: str
) -> None:
    response = await gateway.client.post(DETECT_PATH, json=body)
    assert (response.status_code, response.json()["detail"]) == (422, detail)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (DETECT_PATH, {"controlnet_images": ["%"]}, ["body", "controlnet_input_images", "0"]),
        (RENDER_POSE_PATH, [{"foo": 1, "bar": 2}], ["body", "0", "canvas_width"]),
        (RENDER_POSE_PATH, {"people": []}, ["body"]),
        ("/controlnet/txt2img", {"controlnet_units": {}}, ["body", "controlnet_units"]),
        (
            "/controlnet/txt2img",
            {"controlnet_units": [UNIT | {"weight": 3}]},
            ["body", "alwayson_scripts", "controlnet", "args[0]", "weight"],
        ),
        (
            TXT2IMG_PATH,
            {"alwayson_scripts": {"ControlNet": {"args": [{"enabled": False}, {"module": "foo"}]}}},
            ["body", "alwayson_scripts", "controlnet", "args[1]", "module"],
        ),
    ],
)
async def test_refusals_name_the_field_and_nothing_is_queued(
    gateway: RunningGateway, path: str, body: Any, field: list[str]
) -> None:
    response = await gateway.client.post(path, json=body)
    assert response.status_code == 422
    answer = response.json()
    assert answer["detail"][0]["loc"] == field
    assert not {"info", "images"} & answer.keys()
    assert (await gateway.attributes(gateway.source))["stream.length"] == "0"


@pytest.mark.parametrize(
    ("address", "path", "more"),
    [
        ("/controlnet/txt2img", TXT2IMG_PATH, {}),
        ("/controlnet/img2img", IMG2IMG_PATH, {"init_images": [picture()]}),
    ],
)
async def test_the_first_apis_generation_calls_are_todays_with_units(
    gateway: RunningGateway, consumer: Consumer, address: str, path: str, more: dict[str, Any]
) -> None:
    body = {"prompt": "a cat", **more}
    call = asyncio.create_task(gateway.client.post(address, json={**body, "controlnet_units": [UNIT]}))
    task = await consumer.begin()
    assert task.meta["path"] == path
    assert json.loads(task.data) == {**body, "alwayson_scripts": {"controlnet": {"args": [UNIT]}}}
    await consumer.finish(task, b'{"images": []}')
    assert (await call).json() == {"images": []}


async def test_the_openapi_tells_what_is_sent_and_answered(gateway: RunningGateway) -> None:
    document = (await gateway.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    sent = document["paths"][RENDER_POSE_PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert sent == {"type": "array", "items": {"$ref": "#/components/schemas/Pose"}}
    assert schemas["Pose"]["required"] == ["canvas_width", "canvas_height"]
    assert "controlnet_module" in schemas["DetectRequest"]["properties"]
    for path in ("version", "model_list", "module_list", "control_types", "settings"):
        answer = document["paths"][f"/controlnet/{path}"]["get"]["responses"]["200"]
        name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert schemas[name]["properties"]


async def test_webuiapi_finds_and_calls_them(gateway: RunningGateway, consumer: Consumer) -> None:
    port = httpx.URL(gateway.url).port
    api = await asyncio.to_thread(webuiapi.WebUIApi, host="127.0.0.1", port=port)
    assert api.has_controlnet
    assert await asyncio.to_thread(api.controlnet_version) == 3
    assert await asyncio.to_thread(api.controlnet_model_list) == []
    assert {"none", "canny"} <= set(await asyncio.to_thread(api.controlnet_module_list))

    red = Image.new("RGB", (8, 8), "red")
    call = asyncio.create_task(asyncio.to_thread(api.controlnet_detect, [red, red], module="canny"))
    task = await consumer.begin()
    assert len(parse_detect(task.data, Limits()).controlnet_input_images) == 2
    await consumer.finish(task, json.dumps({"info": "Success", "images": [picture()] * 2}).encode())
    assert [image.size for image in (await call).images] == [(8, 8), (8, 8)]

    with pytest.raises(RuntimeError, match="Module not available") as refused:
        await asyncio.to_thread(api.controlnet_detect, [red], module="INVALID")
    assert refused.value.args[0] == 422
