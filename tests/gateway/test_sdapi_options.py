"""A1111's options: read, set, shared by gateways, and what a task has of them."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import pytest

from easel_contract.options import OPTIONS, effective

from .conftest import Consumer, RunningGateway, StartGateway
from .test_catalogue import add
from .test_sdapi_lists import write_weights

PATH = "/sdapi/v1/options"


async def options_of(gateway: RunningGateway) -> dict[str, Any]:
    response = await gateway.client.get(PATH)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def set_options(gateway: RunningGateway, **options: object) -> None:
    response = await gateway.client.post(PATH, json=options)
    assert (response.status_code, response.json()) == (200, None), response.text


async def test_an_option_is_read_set_and_set_back(gateway: RunningGateway) -> None:
    before = await options_of(gateway)
    assert before.keys() == OPTIONS.keys()
    assert before["send_seed"] is True
    await set_options(gateway, send_seed=False, eta_ddim="0.5", randn_source="cpu")
    now = await options_of(gateway)
    assert (now["send_seed"], now["eta_ddim"], now["randn_source"]) == (False, 0.5, "CPU")
    await set_options(gateway, send_seed=True, eta_ddim=None, randn_source="NV")
    assert await options_of(gateway) == before
    assert (await gateway.queue.run(gateway.queue.options.read())).values == {}, "defaults are not stored"


async def test_all_that_was_read_may_be_sent_back_with_a_change(gateway: RunningGateway) -> None:
    add(gateway, "easel-shapes", b"weights")
    whole = await options_of(gateway)
    await set_options(gateway, **{**whole, "n_rows": 2})
    assert (await gateway.queue.run(gateway.queue.options.read())).values == {"n_rows": 2}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"send_seed": False, "eta_ddim": 9}, ["eta_ddim"]),
        ({"send_seed": False, "no_such_option": 1, "n_rows": "x"}, ["no_such_option", "n_rows"]),
        ({"send_seed": False, "api_forbid_local_requests": False}, ["api_forbid_local_requests"]),
        ({"send_seed": False, "sd_model_checkpoint": "nothing"}, ["sd_model_checkpoint"]),
        ({"send_seed": False, "hypertile_enable_unet": True}, ["hypertile_enable_unet"]),
    ],
)
async def test_of_a_request_with_something_wrong_nothing_is_set(
    gateway: RunningGateway, given: dict[str, object], fields: list[str]
) -> None:
    response = await gateway.client.post(PATH, json=given)
    assert response.status_code == 422, response.text
    assert [problem["loc"] for problem in response.json()["detail"]] == [["body", name] for name in fields]
    assert (await options_of(gateway))["send_seed"] is True


async def test_a_service_that_is_not_strict_passes_unknown_options_over(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(strict=False)
    before = await options_of(gateway)
    await set_options(gateway, no_such_option=1, n_rows=2)
    assert await options_of(gateway) == {**before, "n_rows": 2}
    wrong = await gateway.client.post(PATH, json={"no_such_option": 1, "n_rows": "x"})
    assert (wrong.status_code, "n_rows" in wrong.text) == (422, True)


@pytest.mark.parametrize(
    "body", ["[]", "1", "{", '{"eta_ddim": NaN}', '{"font": "\\ud800"}', '{"\\ud800": 1}', '{"n_rows": {}}']
)
async def test_what_is_no_object_of_options_is_refused(gateway: RunningGateway, body: str) -> None:
    response = await gateway.client.post(PATH, content=body)
    assert response.status_code == 422, response.text


async def test_a_body_of_megabytes_is_refused(gateway: RunningGateway) -> None:
    response = await gateway.client.post(PATH, json={"font": "x" * 2_000_000})
    assert response.status_code == 413


async def test_the_checkpoint_may_be_spelled_as_a_request_would(gateway: RunningGateway) -> None:
    add(gateway, "easel-shapes", b"weights")
    add(gateway, "Dreamy", b"other")
    titles = {
        item["model_name"]: (item["title"], item["sha256"])
        for item in (await gateway.client.get("/sdapi/v1/sd-models")).json()
    }
    before = await options_of(gateway)
    assert (before["sd_model_checkpoint"], before["sd_checkpoint_hash"]) == titles["Dreamy"]
    await set_options(gateway, sd_model_checkpoint="EASEL-shapes.safetensors")
    now = await options_of(gateway)
    assert (now["sd_model_checkpoint"], now["sd_checkpoint_hash"]) == titles["easel-shapes"]
    await set_options(gateway, sd_model_checkpoint=None)
    assert await options_of(gateway) == before


async def test_another_gateway_knows_them_at_once(
    gateway: RunningGateway, start_gateway: StartGateway, consumer: Consumer
) -> None:
    other = await start_gateway()
    for number in range(1, 9):
        await set_options(gateway, n_rows=number)
        put = await other.client.post("/sdapi/v1/txt2img?tag=1", json={"prompt": "x"})
        assert put.status_code == 200, put.text
        task = await consumer.begin()
        assert effective(task.options).n_rows == number
        await consumer.finish(task)
    assert (await options_of(other))["n_rows"] == 8


async def test_a_task_keeps_the_options_of_the_moment_it_was_accepted_at(
    gateway: RunningGateway, consumer: Consumer
) -> None:
    add(gateway, "Dreamy", b"weights")
    await set_options(
        gateway, eta_ddim=0.25, sd_model_checkpoint="dreamy", samples_filename_pattern='a/"b"\\ü'
    )
    call = asyncio.create_task(
        gateway.client.post("/sdapi/v1/txt2img", json={"override_settings": {"s_churn": 3}})
    )
    task = await consumer.begin()
    await set_options(gateway, eta_ddim=0.75, sd_model_checkpoint=None, samples_filename_pattern=None)
    view = effective(task.options, json.loads(task.data)["override_settings"])
    assert (view.eta_ddim, view.s_churn, view.sd_model_checkpoint) == (0.25, 3, "Dreamy")
    assert view.samples_filename_pattern == 'a/"b"\\ü'
    assert task.meta["path"] == "/sdapi/v1/txt2img"
    await consumer.finish(task)
    await call


async def test_eas_puts_have_them_too(gateway: RunningGateway, consumer: Consumer) -> None:
    await set_options(gateway, eta_ddim=0.25)
    await gateway.client.post(gateway.source, content=b"any bytes")
    assert effective((await consumer.begin()).options).eta_ddim == 0.25


async def test_changes_of_different_options_at_the_same_time_all_count(
    gateway: RunningGateway, start_gateway: StartGateway
) -> None:
    other = await start_gateway()
    wanted: dict[str, object] = {
        "n_rows": 3,
        "eta_ddim": 0.5,
        "send_size": False,
        "samples_format": "jpg",
        "jpeg_quality": 90,
        "hide_samplers": ["PLMS"],
        "s_noise": 1.05,
        "tiling": True,
    }
    await asyncio.gather(
        *(
            set_options((gateway, other)[number % 2], **{key: value})
            for number, (key, value) in enumerate(wanted.items())
        )
    )
    now = await options_of(gateway)
    assert {key: now[key] for key in wanted} == wanted


async def test_a_task_that_names_no_checkpoint_needs_the_one_that_is_set(gateway: RunningGateway) -> None:
    add(gateway, "Dreamy", b"weights")
    kins = []
    for checkpoint, eta in ((None, 0), ("dreamy", 0), ("dreamy", 0.5)):
        await set_options(gateway, sd_model_checkpoint=checkpoint, eta_ddim=eta)
        for path in ("/sdapi/v1/txt2img", gateway.source, f"{gateway.source}/controlnet/txt2img"):
            put = await gateway.client.post(path, params={"tag": "1"}, json={"prompt": "x"})
            kins.append(await kin_of(gateway, int(put.text)))
    assert [kin[-1] for kin in kins] == ["m:checkpoint:"] * 3 + ["m:checkpoint:Dreamy"] * 6
    assert len({kin[0] for kin in kins[::3]}) == 3, "no batch of unequal options"


async def kin_of(gateway: RunningGateway, index: int) -> list[str]:
    """What the queue compares of one task: the batch that it could be in, then the models that it needs."""
    kin = await gateway.queue._redis.hget(gateway.queue.keys.of("in", f"e:{index}"), "kin")
    return str(kin.decode()).split("\n")


async def test_files_that_options_name_must_be_there(gateway: RunningGateway) -> None:
    for key, value in (("sd_vae", "ft-mse.safetensors"), ("upscaler_for_img2img", "R-ESRGAN 4x+")):
        response = await gateway.client.post(PATH, json={key: value})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", key]
    write_weights(gateway.settings.data_dir / "models/VAE/ft-mse.safetensors", {"w": [1]})
    await set_options(gateway, sd_vae="ft-mse.safetensors", upscaler_for_img2img="lanczos")
    now = await options_of(gateway)
    assert (now["sd_vae"], now["upscaler_for_img2img"]) == ("ft-mse.safetensors", "Lanczos")
    await set_options(gateway, sd_vae="FT-MSE")
    assert (await options_of(gateway))["sd_vae"] == "ft-mse.safetensors", "as the list has it"
    await set_options(gateway, sd_vae="none", upscaler_for_img2img=None)
    assert (await options_of(gateway))["sd_vae"] == "None"


async def test_a_checkpoint_that_was_removed_is_no_error_of_the_list(gateway: RunningGateway) -> None:
    folder = add(gateway, "Dreamy", b"weights")
    await set_options(gateway, sd_model_checkpoint="Dreamy")
    shutil.rmtree(folder)
    now = await options_of(gateway)
    assert (now["sd_model_checkpoint"], now["sd_checkpoint_hash"]) == ("Dreamy", "")


async def test_what_the_operator_decides_is_shown_as_decided(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        image_urls=False, image_url_local_hosts="cats.local", image_url_user_agent="Me"
    )
    shown = await options_of(gateway)
    keys = ("api_enable_requests", "api_forbid_local_requests", "api_useragent")
    assert [shown[key] for key in keys] == [False, False, "Me"]
    await set_options(gateway, **shown)
    refused = await gateway.client.post(PATH, json={"api_enable_requests": True})
    assert refused.status_code == 422
    assert "EASEL_IMAGE_URLS" in refused.text
