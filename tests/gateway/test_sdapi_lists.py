"""The lists of A1111's API, in its shapes, from real files."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from easel_contract.hashes import HashBook
from easel_contract.network_files import NetworkFiles
from easel_contract.samplers import SAMPLERS, SCHEDULERS
from easel_queue import Queue

from .conftest import RunningGateway, StartGateway


def write_weights(path: Path, shapes: dict[str, list[int]], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file of zeros in float16."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return path


async def listed(gateway: RunningGateway, name: str) -> Any:
    response = await gateway.client.get(f"/sdapi/v1/{name}")
    assert response.status_code == 200, response.text
    return response.json()


async def test_samplers_are_all_that_a_request_may_name_with_values_as_text(gateway: RunningGateway) -> None:
    items = await listed(gateway, "samplers")
    assert [item["name"] for item in items] == [sampler.name for sampler in SAMPLERS]
    first = items[0]
    assert first.keys() == {"name", "aliases", "options"}
    assert (first["name"], first["aliases"], first["options"]["scheduler"]) == (
        "DPM++ 2M",
        ["k_dpmpp_2m"],
        "karras",
    )
    assert all(isinstance(value, str) for item in items for value in item["options"].values())


async def test_hidden_samplers_are_left_out_of_the_list(gateway: RunningGateway) -> None:
    await gateway.client.post("/sdapi/v1/options", json={"hide_samplers": ["DDIM"]})
    names = [item["name"] for item in await listed(gateway, "samplers")]
    assert "DDIM" not in names
    assert len(names) == len(SAMPLERS) - 1


async def test_schedulers_have_null_where_there_is_no_alias(gateway: RunningGateway) -> None:
    items = {item["name"]: item for item in await listed(gateway, "schedulers")}
    assert list(items) == [scheduler.name for scheduler in SCHEDULERS]
    assert items["karras"] == {
        "name": "karras",
        "label": "Karras",
        "aliases": None,
        "default_rho": 7,
        "need_inner_model": False,
    }
    assert items["sgm_uniform"]["aliases"] == ["SGMUniform"]


async def test_latent_modes_are_six(gateway: RunningGateway) -> None:
    names = [item["name"] for item in await listed(gateway, "latent-upscale-modes")]
    assert (len(names), names[0], names[-1]) == (6, "Latent", "Latent (nearest-exact)")


async def test_upscalers_are_the_built_in_ones_and_one_for_each_file(gateway: RunningGateway) -> None:
    models = gateway.settings.data_dir / "models"
    none, *others = await listed(gateway, "upscalers")
    assert none == {"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4}
    assert [item["name"] for item in others] == ["Lanczos", "Nearest"]
    path = write_weights(models / "ESRGAN" / "2x_sharp.safetensors", {"conv": [1]})
    known = write_weights(models / "RealESRGAN" / "RealESRGAN_x4plus.safetensors", {"conv": [1]})
    by_name = {item["name"]: item for item in await listed(gateway, "upscalers")}
    assert by_name["2x_sharp"]["model_path"] == str(path.absolute())
    assert by_name["2x_sharp"]["scale"] == 2
    real = {item["name"]: item for item in await listed(gateway, "realesrgan-models")}
    assert real["R-ESRGAN 4x+"] == {"name": "R-ESRGAN 4x+", "path": str(known.absolute()), "scale": 4}
    assert real["R-ESRGAN 4x+ Anime6B"]["path"] is None


async def test_vaes_are_files_by_their_names(gateway: RunningGateway) -> None:
    assert await listed(gateway, "sd-vae") == []
    path = write_weights(gateway.settings.data_dir / "models/VAE/ft-mse.safetensors", {"w": [1]})
    assert await listed(gateway, "sd-vae") == [
        {"model_name": "ft-mse.safetensors", "filename": str(path.absolute())}
    ]
    beside = write_weights(
        gateway.settings.data_dir / "models/Stable-diffusion/a/b.vae.safetensors", {"w": [1]}
    )
    assert await listed(gateway, "sd-vae") == [
        {"model_name": "b.vae.safetensors", "filename": str(beside.absolute())},
        {"model_name": "ft-mse.safetensors", "filename": str(path.absolute())},
    ]


async def test_hypernetworks_are_files_by_their_stems(gateway: RunningGateway) -> None:
    assert await listed(gateway, "hypernetworks") == []
    folder = gateway.settings.data_dir / "models" / "hypernetworks"
    path = write_weights(folder / "haze.safetensors", {"768.k.linear.0.weight": [4, 4]})
    pickle = folder / "Sub" / "fog.pt"
    pickle.parent.mkdir()
    pickle.write_bytes(b"a pickle")
    (folder / "fog.pt.optim").write_bytes(b"what its training left")
    assert await listed(gateway, "hypernetworks") == [
        {"name": "fog", "path": str(pickle.absolute())},
        {"name": "haze", "path": str(path.absolute())},
    ]


async def test_face_restorers_have_their_shapes(gateway: RunningGateway) -> None:
    items = await listed(gateway, "face-restorers")
    assert [item["name"] for item in items] == ["CodeFormer", "GFPGAN"]
    assert items[1]["cmd_dir"].endswith("models/GFPGAN")


async def test_styles_are_those_of_the_file_as_it_is_now(gateway: RunningGateway) -> None:
    assert await listed(gateway, "prompt-styles") == []
    gateway.settings.data_dir.mkdir(parents=True, exist_ok=True)
    file = gateway.settings.data_dir / "styles.csv"
    file.write_text('name,prompt,negative_prompt\nink,"{prompt}, ink, lines",colour\n', encoding="utf-8")
    assert await listed(gateway, "prompt-styles") == [
        {"name": "ink", "prompt": "{prompt}, ink, lines", "negative_prompt": "colour"}
    ]


async def test_embeddings_tell_their_vectors_and_skip_what_is_none(gateway: RunningGateway) -> None:
    folder = gateway.settings.data_dir / "embeddings"
    write_weights(folder / "worse.safetensors", {"emb_params": [3, 768]})
    write_weights(folder / "sub" / "large.safetensors", {"clip_l": [2, 768], "clip_g": [2, 1280]})
    (folder / "broken.safetensors").write_bytes(b"\xff" * 100)
    (folder / "old.pt").write_bytes(b"a pickle")
    (folder / "worse.bin").write_bytes(b"the same once more")
    (folder / "lost.safetensors").symlink_to(folder / "nowhere")
    found = await listed(gateway, "embeddings")
    assert found["loaded"]["worse"] == {
        "step": None,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
        "shape": 768,
        "vectors": 3,
    }
    assert (found["loaded"]["large"]["shape"], found["loaded"]["large"]["vectors"]) == (2048, 2)
    assert list(found["skipped"]) == ["broken", "old"]


async def test_embeddings_of_another_kind_of_checkpoint_are_skipped(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(allow_pickle=True)
    folder = gateway.settings.data_dir / "embeddings"
    write_weights(folder / "one.safetensors", {"emb_params": [3, 12]})
    write_weights(folder / "xl.safetensors", {"clip_l": [2, 12], "clip_g": [2, 20]})
    (folder / "old.pt").write_bytes(b"a pickle, which may be opened")

    async def loaded(checkpoint: str) -> list[str]:
        response = await gateway.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": checkpoint})
        assert response.status_code == 200, response.text
        found = await listed(gateway, "embeddings")
        assert {*found["loaded"], *found["skipped"]} == {"one", "xl", "old"}
        return sorted(found["loaded"])

    assert sorted((await listed(gateway, "embeddings"))["loaded"]) == ["old", "one", "xl"], "no checkpoint"
    models = gateway.settings.checkpoint_dir
    text = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    write_weights(models / "small.safetensors", {text: [7, 12], "other.weight": [3, 3]})
    first, second = f"conditioner.embedders.0.{text}", "conditioner.embedders.1.model.token_embedding.weight"
    write_weights(models / "large.safetensors", {first: [7, 12], second: [7, 20]})
    (models / "old.ckpt").write_bytes(b"a pickle")
    parts = models / "folder"
    for part, width in (("text_encoder", 12), ("text_encoder_2", 20)):
        (parts / part).mkdir(parents=True)
        (parts / part / "config.json").write_text(json.dumps({"hidden_size": width}))
    (parts / "model_index.json").write_text("{}")
    assert await loaded("small") == ["old", "one"]
    assert await loaded("large") == await loaded("folder") == ["old", "xl"]
    assert await loaded("old.ckpt") == ["old", "one", "xl"], "nothing tells"
    (parts / "text_encoder" / "config.json").write_text("[]")
    assert await loaded("folder") == ["old", "one", "xl"]


async def test_loras_tell_alias_and_metadata(gateway: RunningGateway) -> None:
    folder = gateway.settings.data_dir / "models" / "Lora"
    metadata = {
        "ss_output_name": "Ink v2",
        "ss_tag_frequency": '{"a": {"cat": 3}}',
        "ss_note": '{"x": NaN}',
        "ss_broken": "{",
        "ssmd_cover_images": "[megabytes]",
        "half": "\ud800",
    }
    path = write_weights(folder / "ink.safetensors", {"lora_up": [4, 4]}, metadata)
    write_weights(folder / "plain.safetensors", {"lora_up": [4, 4]})
    ink, plain = await listed(gateway, "loras")
    assert (ink["name"], ink["alias"], ink["path"]) == ("ink", "Ink v2", str(path.absolute()))
    assert ink["metadata"]["ss_tag_frequency"] == {"a": {"cat": 3}}
    assert (ink["metadata"]["ss_note"], ink["metadata"]["ss_broken"]) == ({"x": "NaN"}, "{")
    assert "ssmd_cover_images" not in ink["metadata"]
    assert (plain["alias"], plain["metadata"], plain["hash"]) == ("plain", {}, None)
    files = NetworkFiles(folder.parent, hashes=HashBook(gateway.settings.hash_file))
    short = files.hash_soon(files.find("lora", "plain", field="prompt")).result(60)[:12]
    assert (await listed(gateway, "loras"))[1]["hash"] == short, "once a worker has read it"
    write_weights(folder / "ink.safetensors", {"lora_up": [4, 4]}, {"ss_output_name": "Ink v3"})
    assert (await listed(gateway, "loras"))[0]["alias"] == "Ink v3", "a file that was replaced is read again"


@pytest.mark.parametrize("what", ["checkpoints", "vae", "embeddings", "loras"])
async def test_refreshing_answers_null(gateway: RunningGateway, what: str) -> None:
    response = await gateway.client.post(f"/sdapi/v1/refresh-{what}")
    assert (response.status_code, response.json()) == (200, None)


async def test_scripts_are_the_ones_that_clients_look_for(gateway: RunningGateway) -> None:
    scripts = await listed(gateway, "scripts")
    assert {"prompt matrix", "prompts from file or textbox", "x/y/z plot", "controlnet m2m"} <= set(
        scripts["txt2img"]
    )
    assert {"refiner", "seed", "sampler", "controlnet"} <= set(scripts["txt2img"])
    inert = {"extra options", "hypertile", "comments"}  # a stock A1111 has them
    assert inert <= set(scripts["txt2img"]) & set(scripts["img2img"])
    assert {"sd upscale", "outpainting mk2", "poor man's outpainting", "loopback", "soft inpainting"} <= set(
        scripts["img2img"]
    ) - set(scripts["txt2img"])


async def test_script_info_lists_arguments_by_position(gateway: RunningGateway) -> None:
    infos = await listed(gateway, "script-info")
    by_name = {(info["name"], info["is_img2img"]): info for info in infos}
    upscale = by_name["sd upscale", True]
    assert upscale["is_alwayson"] is False
    _, overlap, upscaler, scale = upscale["args"]
    assert (overlap["value"], overlap["minimum"], overlap["step"]) == (64, 0, 1)
    assert upscaler["choices"] == ["None", "Lanczos", "Nearest"]
    assert scale["value"] == 2.0
    directions = by_name["outpainting mk2", True]["args"][3]
    assert directions["value"] == directions["choices"] == ["left", "right", "up", "down"]
    assert by_name["soft inpainting", True]["is_alwayson"] is True
    assert ("sd upscale", False) not in by_name
    assert by_name["hypertile", False] == by_name["hypertile", True] | {"is_img2img": False}
    assert (by_name["hypertile", True]["is_alwayson"], by_name["hypertile", True]["args"]) == (True, [])
    assert all(
        argument.keys() == {"label", "value", "minimum", "maximum", "step", "choices"}
        for info in infos
        for argument in info["args"]
    )


async def test_no_secret_is_among_the_flags(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        tokens="alice:token-of-alice", api_auth="bob:bobs-secret", s3_secret_key="key-of-s3", max_n_iter=7
    )
    response = await gateway.client.get("/sdapi/v1/cmd-flags", headers={"Authorization": "token-of-alice"})
    flags = response.json()
    assert (flags["api"], flags["nowebui"], flags["max_batch_count"], flags["api_auth"]) == (
        True,
        True,
        7,
        "***",
    )
    assert flags["ckpt_dir"] == str(gateway.settings.checkpoint_dir.absolute())
    for secret in ("token-of-alice", "bobs-secret", "key-of-s3", "redis://"):
        assert secret not in response.text


@pytest.mark.parametrize(
    "path", ["create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"]
)
async def test_training_is_refused_in_the_envelope(gateway: RunningGateway, path: str) -> None:
    response = await gateway.client.post(f"/sdapi/v1/{path}", json={"name": "x"})
    assert response.status_code == 501
    assert response.json().keys() == {"error", "detail", "body", "errors"}


@pytest.mark.parametrize("what", ["kill", "restart", "stop"])
async def test_nobody_stops_the_server_by_a_request_unless_allowed(
    gateway: RunningGateway, start_gateway: StartGateway, what: str
) -> None:
    response = await gateway.client.post(f"/sdapi/v1/server-{what}")
    assert response.status_code == 404
    assert "EASEL_API_SERVER_STOP" in response.json()["detail"]
    if what == "restart":
        allowed = await start_gateway(api_server_stop=True)
        assert (await allowed.client.post("/sdapi/v1/server-restart")).status_code == 501


MODELS = [{"kind": "checkpoint", "name": "dreamy", "tier": "ram", "bytes": 4}]
CUDA: dict[str, Any] = {
    "device": "GPU-1",
    "system": {"free": 70, "used": 30, "total": 100},
    **{kind: {"current": 5, "peak": 9} for kind in ("active", "allocated", "reserved", "inactive")},
    "events": {"retries": 1, "oom": 2},
}


async def test_memory_is_the_sum_of_all_workers_and_counts_a_host_once(gateway: RunningGateway) -> None:
    assert (await listed(gateway, "memory"))["ram"] == {"error": "no worker lives"}
    ram = {"free": 900, "used": 100, "total": 1000}
    beat = gateway.queue.tasks.heartbeat
    for name, host, memory in (
        ("one", "a", {"ram": ram, "cuda": CUDA}),
        ("two", "a", {"ram": ram, "cuda": CUDA}),
        ("three", "b", {"ram": ram}),
        ("old", "c", {}),
    ):
        info = {"host": host, **({"memory": memory, "models": MODELS} if memory else {})}
        await gateway.queue.run(beat(name, info))
    found = await listed(gateway, "memory")
    assert found["ram"] == {"free": 1700, "used": 300, "total": 2000}
    assert found["cuda"]["system"] == CUDA["system"], "two workers share the device"
    assert found["cuda"]["active"] == {"current": 10, "peak": 18}
    assert found["cuda"]["events"] == {"retries": 2, "oom": 4}
    workers = {worker["worker"]: worker for worker in found["workers"]}
    assert workers["one"]["cuda"] == CUDA
    assert "error" in workers["three"]["cuda"]
    assert (workers["three"]["models"], workers["old"]["models"]) == (MODELS, [])


async def test_every_worker_is_told_to_unload_and_to_reload(gateway: RunningGateway, redis_url: str) -> None:
    for worker in ("one", "two"):
        await gateway.queue.run(gateway.queue.tasks.heartbeat(worker, {}))
    queue = Queue(redis_url, service=gateway.settings.service)
    try:
        for order in ("unload", "reload"):
            response = await gateway.client.post(f"/sdapi/v1/{order}-checkpoint")
            assert (response.status_code, response.json()) == (200, {})
            for worker in ("one", "two"):
                assert await asyncio.to_thread(queue.wait_inbox, worker, 5) == order
    finally:
        queue.close()


async def test_lists_do_not_wait_for_each_other(gateway: RunningGateway) -> None:
    names = ("samplers", "loras", "embeddings", "sd-vae", "upscalers", "prompt-styles", "script-info") * 5
    assert all(item is not None for item in await asyncio.gather(*(listed(gateway, name) for name in names)))
