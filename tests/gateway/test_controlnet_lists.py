"""What `/controlnet` lists, from real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from easel_contract.controlnet import MODULES, ControlFiles
from easel_contract.controlnet.control_types import TYPES

from .conftest import RunningGateway, StartGateway

WEIGHTS = bytes(range(256)) * 4600


def write(path: Path, data: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


async def get(gateway: RunningGateway, name: str, **query: str) -> Any:
    response = await gateway.client.get(f"/controlnet/{name}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def models_of(gateway: RunningGateway) -> Path:
    return gateway.settings.data_dir / "models"


async def test_version_and_settings(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(controlnet_units=5)
    assert await get(gateway, "version") == {"version": 3}
    assert await get(gateway, "settings") == {"control_net_unit_count": 5}
    options = (await gateway.client.get("/sdapi/v1/options")).json()
    assert options["control_net_unit_count"] == 5
    # A client that posts all that it read changes nothing; one that asks for more is told whose it is.
    assert (await gateway.client.post("/sdapi/v1/options", json=options)).status_code == 200
    refused = await gateway.client.post("/sdapi/v1/options", json={"control_net_unit_count": 6})
    assert refused.status_code == 422
    assert "EASEL_CONTROLNET_UNITS" in refused.text


@pytest.mark.parametrize("query", [{}, {"update": "true"}, {"update": "false"}])
async def test_models_are_there_as_soon_as_their_files_are(
    gateway: RunningGateway, query: dict[str, str]
) -> None:
    assert await get(gateway, "model_list", **query) == {"model_list": []}
    folder = models_of(gateway) / "ControlNet"
    write(folder / "control_v11p_sd15_canny.pth", WEIGHTS)
    write(folder / "xl" / "union" / "config.json", b"{}")
    write(folder / "xl" / "union" / "diffusion_pytorch_model.safetensors")
    names = (await get(gateway, "model_list", **query))["model_list"]
    assert [name.partition(" [")[0] for name in names] == ["control_v11p_sd15_canny", "union"]
    files = ControlFiles(folder)
    assert [files.resolve(name).name for name in names] == names


async def test_modules_are_listed_with_what_they_take(gateway: RunningGateway) -> None:
    answer = await get(gateway, "module_list")
    assert set(answer["module_list"]) == answer["module_detail"].keys()
    assert answer["module_detail"]["canny"] == {
        "model_free": False,
        "sliders": [
            {"name": "Resolution", "value": 512, "min": 64, "max": 2048, "step": 8},
            {"name": "Low Threshold", "value": 100, "min": 1, "max": 255, "step": 1},
            {"name": "High Threshold", "value": 200, "min": 1, "max": 255, "step": 1},
        ],
    }
    assert answer["module_detail"]["reference_only"]["model_free"] is True
    assert answer["module_detail"]["none"]["sliders"] == []
    assert "hed" not in answer["module_list"]

    write(models_of(gateway) / "annotators" / "mlsd_large_512_fp32.pth")
    assert await get(gateway, "module_list") == answer, "a pickle, and those are not allowed"
    write(models_of(gateway) / "annotators" / "ControlNetHED.safetensors")
    later = await get(gateway, "module_list")
    assert set(later["module_list"]) - set(answer["module_list"]) == {"hed", "hed_safe", "scribble_hed"}
    labels = await get(gateway, "module_list", alias_names="true")
    assert set(labels["module_list"]) == labels["module_detail"].keys()
    assert set(labels["module_list"]) == {MODULES[name].label for name in later["module_list"]}


async def test_pickles_are_offered_where_the_operator_allows_them(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(allow_pickle=True)
    write(models_of(gateway) / "annotators" / "mlsd_large_512_fp32.pth")
    assert "mlsd" in (await get(gateway, "module_list"))["module_list"]
    write(models_of(gateway) / "Lora" / "old.pt")
    loras = (await gateway.client.get("/sdapi/v1/loras")).json()
    assert [item["name"] for item in loras] == ["old"]


async def test_types_offer_what_is_there(gateway: RunningGateway) -> None:
    write(models_of(gateway) / "ControlNet" / "control_v11p_sd15_canny.safetensors", WEIGHTS)
    types = (await get(gateway, "control_types"))["control_types"]
    assert list(types) == ["All", *TYPES]
    (model,) = (await get(gateway, "model_list"))["model_list"]
    assert types["Canny"] == {
        "module_list": ["none", "canny", "invert (from white bg & black line)"],
        "model_list": ["None", model],
        "default_option": "canny",
        "default_model": model,
    }
    assert types["All"]["model_list"] == ["None", model]
    assert types["All"]["default_model"] == types["Depth"]["default_model"] == "None"
    assert types["Scribble"]["default_option"] == "scribble_xdog"


async def test_a_wrong_query_is_refused(gateway: RunningGateway) -> None:
    for path in ("model_list?update=perhaps", "module_list?alias_names=perhaps"):
        assert (await gateway.client.get(f"/controlnet/{path}")).status_code == 422


async def test_a_token_is_wanted_here_too(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(tokens="secret")
    for name in ("version", "model_list", "module_list", "control_types", "settings"):
        assert (await gateway.client.get(f"/controlnet/{name}")).status_code == 401
        told = await gateway.client.get(f"/controlnet/{name}", headers={"Authorization": "secret"})
        assert told.status_code == 200
    for name in ("detect", "render_openpose_json", "txt2img", "img2img"):
        assert (await gateway.client.post(f"/controlnet/{name}", json={})).status_code == 401
