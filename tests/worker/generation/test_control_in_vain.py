"""What only a worker can tell to be in vain: by the model's kind, the mask's pixels, the steps made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from easel_contract.controlnet import ControlUnit
from easel_contract.controlnet.combining import UnusableError
from easel_contract.errors import ContractError
from easel_contract.requests import IMG2IMG_PATH, TXT2IMG_PATH
from easel_worker.generation.control.windows import check_window
from easel_worker.generation.plan import Plan

from ...small_models.control import small_adapter, write_original_adapter
from ..desk import BARE, Desk
from .controlled import INPAINT, IP_ADAPTER, drawing, unit, units

UNIT = "alwayson_scripts.controlnet.args[0]"
HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
PLOT = {"script_name": "x/y/z plot"}


@pytest.fixture(scope="module")
def lenient(control_desk: Desk) -> Desk:
    """The same files at a service that is not strict."""
    return Desk(control_desk.settings.data_dir, BARE, strict=False)


@pytest.fixture(scope="module")
def adapter(control_desk: Desk) -> Iterator[str]:
    """A T2I-adapter beside the other models."""
    path = control_desk.settings.data_dir / "models" / "ControlNet" / "t2iadapter_sketch.safetensors"
    write_original_adapter(small_adapter((32, 64, 64, 128)), path)
    yield path.stem
    path.unlink()


def plan(desk: Desk, fields: dict[str, Any] | None = None, /, **of_unit: Any) -> Plan:
    """What the prefetch stage makes of a request with one unit; img2img where there is an init image."""
    body = {**units(unit(**of_unit)), **(fields or {})}
    path = IMG2IMG_PATH if "init_images" in body else TXT2IMG_PATH
    return desk.plan(path, **body)


def refused(desk: Desk, fields: dict[str, Any] | None = None, /, **of_unit: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        plan(desk, fields, **of_unit)
    assert caught.value.status == 422
    return caught.value


def window(start: float, end: float) -> dict[str, float]:
    return {"guidance_start": start, "guidance_end": end}


@pytest.mark.parametrize(
    ("start", "end", "steps", "field", "told"),
    [
        (0.3, 0.49, [4], "guidance_end", "none of 4 steps begins; the next one does at 0.5"),
        (0.8, 1.0, [4], "guidance_start", "is 0.8, and the last of 4 steps begins at 0.75"),
        (0.34, 0.6, [3], "guidance_end", "at 0.667: send that or more"),
        (0.9, 0.9, [3], "guidance_start", "at 0.666: send that or less"),
        (0.01, 0.2, [4, 2], "guidance_end", "none of 2 and 4 steps begins; the next one does at 0.25"),
        (0.1, 1.0, [1, 0], "guidance_start", "the last of 1 steps begins at 0: "),
        (0.0, 1.0, [0], "", "takes part in no step"),
        (0.0, 1.0, [], "", "takes part in no step"),
    ],
)
def test_a_window_between_two_steps(
    start: float, end: float, steps: list[int], field: str, told: str
) -> None:
    asked = ControlUnit.model_validate(window(start, end))
    with pytest.raises(UnusableError) as caught:
        check_window(asked, steps)
    assert caught.value.field == ".".join(filter(None, (UNIT, field)))
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("start", "end", "steps"),
    [
        (0.0, 0.0, [20]),
        (0.5, 0.5, [4]),
        (0.25, 0.3, [4]),
        (0.75, 1.0, [4]),
        (1 / 3, 1 / 3, [3]),
        (0.9, 1.0, [4, 10]),
        (0.4, 0.41, [None]),
        (0.4, 0.41, [4, None]),
    ],
)
def test_a_window_with_a_step(start: float, end: float, steps: list[int | None]) -> None:
    check_window(ControlUnit.model_validate(window(start, end)), steps)


LATE = window(0.85, 0.95)
"""The last of ten steps, and none of four."""


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 4},
        {"steps": 10, "sampler_name": "DPM fast"},  # four, with up to three calls each
        {"steps": 10, "init_images": [drawing()], "denoising_strength": 0.3},  # the last four of ten
        {"steps": 5, "init_images": [drawing()], "sampler_name": "DDIM", "denoising_strength": 0.999},
        {"steps": 4, **HIRES, "hr_second_pass_steps": 3},
        {"steps": 4, **HIRES},
    ],
)
def test_the_steps_that_count_are_those_really_made(control_desk: Desk, fields: dict[str, Any]) -> None:
    assert refused(control_desk, fields, **LATE).field == f"{UNIT}.guidance_start"


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 10},
        {"steps": 4, "sampler_name": "DPM adaptive"},  # which takes as many as it likes
        {"steps": 14, "init_images": [drawing()], "denoising_strength": 0.65},
        {"steps": 4, **HIRES, "hr_second_pass_steps": 10},
    ],
)
def test_a_step_of_any_pass_is_enough(control_desk: Desk, fields: dict[str, Any]) -> None:
    assert len(plan(control_desk, fields, **LATE).job.units) == 1


def test_only_the_passes_that_a_unit_takes_part_in_count(control_desk: Desk) -> None:
    longer = {"steps": 4, **HIRES, "hr_second_pass_steps": 10}
    assert len(plan(control_desk, longer, **LATE, hr_option="High res only").job.units) == 1
    error = refused(control_desk, longer, **LATE, hr_option="Low res only")
    assert "the last of 4 steps" in error.message
    given = {**longer, "hr_second_pass_steps": 4, "steps": 10, "firstpass_image": drawing()}
    assert "the last of 4 steps" in refused(control_desk, given, **LATE).message


def test_fixed_steps_are_those_that_count(control_desk: Desk) -> None:
    fields = {"steps": 10, "init_images": [drawing()], "denoising_strength": 0.3}
    assert "the last of 4 steps" in refused(control_desk, fields, **LATE).message
    fixed = {"override_settings": {"img2img_fix_steps": True}}
    assert len(plan(control_desk, fields | fixed, **LATE).job.units) == 1


def test_img2img_without_a_step_is_without_its_units(control_desk: Desk) -> None:
    fields = {"init_images": [drawing()], "sampler_name": "DDIM", "denoising_strength": 0.0}
    error = refused(control_desk, fields)
    assert (error.field, "because none is made" in error.message) == (UNIT, True)


def test_every_loop_of_a_loopback_counts_and_each_cell_of_a_plot(control_desk: Desk) -> None:
    fields = {"steps": 10, "init_images": [drawing()], "denoising_strength": 0.3, "script_name": "loopback"}
    assert len(plan(control_desk, fields | {"script_args": [2, 0.9, "Linear"]}, **LATE).job.units) == 1
    stays = {"script_args": [2, 0.3, "Linear"]}
    assert refused(control_desk, fields | stays, **LATE).field == f"{UNIT}.guidance_start"
    # The request's own steps are not made where a plot says otherwise.
    for values, made in (("10,20", True), ("10,4", False)):
        plot = {"steps": 4, **PLOT, "script_args": ["Steps", values]}
        if made:
            assert len(plan(control_desk, plot, **LATE).work.jobs) == 2
        else:
            refused(control_desk, plot, **LATE)


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"union_control_type": "Depth"}, "union_control_type", "this is a ControlNet"),
        ({"effective_region_mask": Image.new("L", (8, 8))}, "effective_region_mask", "black everywhere"),
        (
            {"module": "inpaint", "model": INPAINT, "mask": Image.new("L", (64, 64))},
            "mask",
            "the mask is black everywhere",
        ),
        (LATE, "guidance_start", "the last of 4 steps"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_lenient_service_goes_on_and_says_so(
    control_desk: Desk, lenient: Desk, fields: dict[str, Any], field: str, told: str
) -> None:
    error = refused(control_desk, **fields)
    assert error.field == f"{UNIT}.{field}"
    assert told in error.message
    made = plan(lenient, **fields)
    [warning] = made.warnings
    assert warning.startswith(f"{UNIT}.{field}: ")
    kept = field == "union_control_type"
    assert len(made.job.units) == kept
    assert warning.endswith("it is not looked at" if kept else "the unit is left out")


def test_leaving_a_unit_out_is_as_if_it_were_not_there(lenient: Desk) -> None:
    answer = lenient.txt2img(**units(unit(**LATE)))
    assert (answer.pixels[0] == lenient.txt2img().pixels[0]).all()
    assert "the unit is left out" in json.dumps(answer.info["warnings"])
    typed = lenient.txt2img(**units(unit(union_control_type="Depth")))
    assert (typed.pixels[0] == lenient.txt2img(**units(unit())).pixels[0]).all()


def test_a_type_for_a_model_that_has_none(control_desk: Desk, adapter: str) -> None:
    error = refused(control_desk, model=adapter, union_control_type="Hard Edge")
    assert (error.field, "this is a T2I-adapter" in error.message) == (f"{UNIT}.union_control_type", True)
    fields = {"module": "ip-adapter_clip_h", "model": IP_ADAPTER, "union_control_type": "Depth"}
    assert refused(control_desk, **fields).field == f"{UNIT}.union_control_type"


def test_a_black_mask_of_a_unit_leaves_img2imgs(control_desk: Desk) -> None:
    black, side = Image.new("L", (64, 64)), Image.new("L", (64, 64))
    side.paste(255, (0, 0, 20, 64))
    inpaint = {"module": "inpaint", "model": INPAINT, "image": None, "mask": black}
    masked = {"init_images": [drawing()], "mask": side, "inpaint_full_res": False}
    assert plan(control_desk, masked, **inpaint).job.units[0].mask is None
    assert refused(control_desk, {"init_images": [drawing()]}, **inpaint).field == f"{UNIT}.mask"
    fills = {"init_images": [drawing((96, 64))], "resize_mode": 2}
    assert len(plan(control_desk, fills, **inpaint).job.units) == 1
