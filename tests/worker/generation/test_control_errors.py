"""What is wrong with a unit is told before anything is drawn: 422, with the unit and the field."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from easel_contract.errors import ContractError
from easel_worker.diffusion.checkpoint import load_checkpoint
from easel_worker.diffusion.errors import JobError
from easel_worker.handlers.base import RunContext
from easel_worker.job import Job

from ...small_models.control import small_controlnet, write_folder
from ..desk import Desk
from ..diffusion.small_models import KINDS
from ..diffusion.small_models import write_folder as write_checkpoint
from .controlled import CANNY, IP_ADAPTER, controlled, unit, units

UNIT = "alwayson_scripts.controlnet.args[0]"


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"model": "nobody"}, "model", CANNY),
        ({"model": None}, "model", "canny"),
        ({"module": "depth_midas"}, "module", "annotators/dpt_hybrid"),
        ({"module": "nothing"}, "module", "not found in supported modules"),
        ({"image": None}, "image", "picture"),
        ({"image": "bm90IGEgcGljdHVyZQ=="}, "image", "Invalid encoded image"),
        ({"mask": Image.new("L", (32, 64))}, "mask", "32x64"),
        ({"model": IP_ADAPTER}, "model", "network that follows a map"),
        ({"module": "ip-adapter_clip_h"}, "model", "IP-Adapter"),
        ({"module": "ip-adapter_clip_g", "model": IP_ADAPTER}, "module", "clip_g"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_prefetch_stage_tells_what_is_wrong(
    control_desk: Desk, fields: dict[str, Any], field: str, told: str
) -> None:
    with pytest.raises(ContractError) as refused:
        controlled(control_desk, **fields)
    assert refused.value.status == 422
    assert refused.value.field == f"{UNIT}.{field}"
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"advanced_weighting": [1.0, 0.5]}, "advanced_weighting: 2 weights"),
        (
            {"module": "ip-adapter_clip_h", "model": IP_ADAPTER, "advanced_weighting": [1.0]},
            "advanced_weighting",
        ),
    ],
)
def test_what_only_the_model_can_tell_is_told_with_the_unit_too(
    control_desk: Desk, fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(JobError) as refused:
        controlled(control_desk, **fields)
    assert UNIT in str(refused.value)
    assert told in str(refused.value)
    assert control_desk.handler.explain(refused.value).code == 422


def test_a_model_for_another_family_is_refused(control_desk: Desk, tmp_path: Path) -> None:
    written = write_checkpoint(KINDS["sdxl"], tmp_path / "xl")
    other = load_checkpoint(written, device=torch.device("cpu"), dtype=torch.float32)
    folder = write_folder(
        small_controlnet(other.unet), control_desk.settings.data_dir / "models" / "ControlNet" / "for-sdxl"
    )
    try:
        with pytest.raises(JobError, match="SDXL") as refused:
            controlled(control_desk, model="for-sdxl")
        assert f"{UNIT}.model" in str(refused.value)
    finally:
        shutil.rmtree(folder)


def test_a_broken_file_is_the_services_fault_and_named(control_desk: Desk) -> None:
    path = control_desk.settings.data_dir / "models" / "ControlNet" / "broken.safetensors"
    path.write_bytes(b"no weights")
    try:
        with pytest.raises(ContractError) as refused:
            controlled(control_desk, model="broken")
        assert "broken.safetensors" in refused.value.message
        assert refused.value.field == f"{UNIT}.model"
    finally:
        path.unlink()


def test_a_broken_image_encoder_is_named_with_the_units_module(control_desk: Desk) -> None:
    path = control_desk.settings.data_dir / "models" / "annotators" / "clip_vision" / "clip_g.safetensors"
    path.write_bytes(b"no weights")
    try:
        with pytest.raises(ContractError, match=r"clip_g\.safetensors") as refused:
            controlled(control_desk, module="ip-adapter_clip_sdxl", model=IP_ADAPTER)
        assert (refused.value.field, refused.value.status) == (f"{UNIT}.module", 422)
    finally:
        path.unlink()


def test_a_file_that_goes_while_its_task_waits_is_named(control_desk: Desk) -> None:
    folder = control_desk.settings.data_dir / "models" / "ControlNet"
    shutil.copy(folder / f"{CANNY}.safetensors", folder / "fleeting.safetensors")
    task = control_desk.task(**units(unit(model="fleeting")))
    prepared = control_desk.handler.prepare(task)
    (folder / "fleeting.safetensors").unlink()
    with pytest.raises(ContractError, match="fleeting cannot be read: No such file") as refused:
        control_desk.handler.run(prepared, RunContext(Job(task), lambda job, progress: None))
    assert refused.value.field == f"{UNIT}.model"


def test_the_second_of_two_units_is_named(control_desk: Desk) -> None:
    with pytest.raises(ContractError) as refused:
        control_desk.txt2img(**units(unit(), unit(model="nobody")))
    assert refused.value.field == "alwayson_scripts.controlnet.args[1].model"


def test_a_pickle_is_opened_only_where_it_may_be(control_desk: Desk) -> None:
    path = control_desk.settings.data_dir / "models" / "ControlNet" / "old.pth"
    path.write_bytes(b"whatever")
    try:
        with pytest.raises(ContractError, match="EASEL_ALLOW_PICKLE"):
            controlled(control_desk, model="old")
    finally:
        path.unlink()
