"""What a request asks for and nothing would come of: refused by name, or told by a lenient service."""

from __future__ import annotations

from typing import Any

import pytest

from easel_contract.controlnet import ControlUnit, read_units
from easel_contract.controlnet.combining import Init
from easel_contract.errors import ContractError
from easel_contract.limits import Limits

from .control_bodies import EDGES, UNIT, png, read, refuse, request_with

ADAPTER = {"module": "ip-adapter_clip_h", "model": "ip", "image": "A"}
REFERENCE = {"module": "reference_only", "image": "A"}
REVISION = {"module": "revision_clipvision", "image": "A"}
LENIENT = Limits(strict=False)
HIRES = {"enable_hr": True, "denoising_strength": 0.5}


@pytest.mark.parametrize(
    ("unit", "field", "value"),
    [
        (EDGES, "pulid_mode", "Extremely style"),
        (REFERENCE, "advanced_weighting", [1.0]),
        (REVISION, "advanced_weighting", [1.0]),
        (REFERENCE, "effective_region_mask", "M"),
        (REVISION, "effective_region_mask", "M"),
        (REVISION, "control_mode", 1),
        (REVISION, "control_mode", "ControlNet is more important"),
        (ADAPTER, "union_control_type", "Depth"),
        (REFERENCE, "union_control_type", "Depth"),
        (REVISION, "union_control_type", "Depth"),
        (ADAPTER | {"image": None, "ipadapter_input": "T"}, "mask", "M"),
        *((kind | {"image": None}, "mask", "M") for kind in (EDGES, ADAPTER, REFERENCE, REVISION)),
    ],
)
def test_a_field_of_another_kind_of_unit(unit: dict[str, Any], field: str, value: Any) -> None:
    assert refuse(unit | {field: value}, init=Init()).field == f"{UNIT}.{field}"
    plain = read(unit, init=Init())
    told = read(unit | {field: value}, init=Init(), strict=False)
    assert told.model_copy(update={"warnings": ()}) == plain, "the unit is used without it"
    (warning,) = told.warnings
    assert warning.startswith(f"{UNIT}.{field}: ")
    assert warning.endswith("it is not looked at")


@pytest.mark.parametrize("unit", [EDGES, ADAPTER, REFERENCE, REVISION])
def test_what_clients_send_for_nothing_is_taken(unit: dict[str, Any]) -> None:
    sent = {
        "control_mode": "Balanced",
        "resize_mode": "Resize and Fill",
        "processor_res": 512,
        "threshold_a": 64,
        "threshold_b": 64,
        "pixel_perfect": True,
        "pulid_mode": "Fidelity",
        "union_control_type": "Unknown",
        "advanced_weighting": None,
        "effective_region_mask": None,
        "ipadapter_input": None,
        "hr_option": "Both",
        "inpaint_crop_input_image": False,
        "mask": "M",
    }
    assert read(unit | sent).warnings == ()


def test_modes_and_layer_weights_count_where_something_comes_of_them() -> None:
    weighed = {"control_mode": 2, "advanced_weighting": [1.0], "effective_region_mask": "M"}
    for unit in (
        EDGES | weighed,
        ADAPTER | weighed,
        REFERENCE | {"control_mode": 2},
        EDGES | {"union_control_type": "Depth"},  # whether its model is one, the file tells
    ):
        assert read(unit).warnings == ()


def test_guidance_that_begins_behind_the_last_step() -> None:
    error = refuse(EDGES | {"guidance_start": 1})
    assert error.field == f"{UNIT}.guidance_start"
    found = read_units([EDGES | {"guidance_start": 1.0}], limit=3, strict=False)
    assert found.units == ()
    assert found.warnings[0].endswith("the unit is left out")


STILL = {"denoising_strength": 0}
GIVEN = {"firstpass_image": png()}


@pytest.mark.parametrize(
    ("fields", "option", "told"),
    [
        (STILL, "High res only", "makes no steps; send 'Both'"),
        (GIVEN, "Low res only", "stands in for the first pass; send 'Both'"),
        (STILL | GIVEN, "High res only", "send a higher denoising_strength"),
        (STILL | GIVEN, "Low res only", "send a higher denoising_strength"),
        (STILL | GIVEN, "Both", "send a higher denoising_strength"),
    ],
)
def test_a_pass_that_is_not_run(fields: dict[str, Any], option: str, told: str) -> None:
    unit = EDGES | {"image": png(), "hr_option": option}
    with pytest.raises(ContractError) as refused:
        request_with(unit, **HIRES | fields)
    assert refused.value.field == f"{UNIT}.hr_option"
    assert told in refused.value.message
    lenient = request_with(unit, **HIRES | fields, limits=LENIENT)
    assert lenient.units == ()
    assert f"{UNIT}.hr_option: " in lenient.warnings[0]
    # A plot or a list of prompts may say otherwise for each of its generations, which are checked then.
    plot = {"script_name": "x/y/z plot", "script_args": ["Denoising", "0.3,0.5"]}
    assert len(request_with(unit, **HIRES | fields, **plot).units) == 1


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        (HIRES, "High res only"),
        (HIRES, "Low res only"),
        (HIRES | STILL, "Low res only"),
        (HIRES | STILL, "Both"),
        (HIRES | GIVEN, "High res only"),
        (HIRES | GIVEN, "Both"),
        (HIRES | {"denoising_strength": None}, "High res only"),
        (STILL, "High res only"),
        ({"init_images": [png()], **STILL}, "High res only"),
    ],
    ids=str,
)
def test_a_pass_that_is_run_and_no_second_one_at_all(fields: dict[str, Any], option: str) -> None:
    assert len(request_with(EDGES | {"image": png(), "hr_option": option}, **fields).units) == 1


SCRIPTS: list[dict[str, Any]] = [
    {"script_name": "sd upscale", "script_args": ["", 16, "None", 2]},
    {"script_name": "outpainting mk2", "script_args": ["", 64, 0, ["up"]]},
    {"script_name": "poor man's outpainting", "script_args": [64, 2, 0, ["right"]]},
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script["script_name"]))
def test_what_a_script_does_not_look_at(script: dict[str, Any]) -> None:
    plain = {"init_images": [png()], "resize_mode": 1, "inpainting_fill": 1, "mask_blur": 8}
    assert request_with(**plain, **script).warnings == ()
    for field, value in (
        ("mask", png("L")),
        ("latent_mask", png("L")),
        ("init_images", [png(), png()]),
    ):
        fields = {**plain, "batch_size": 2, field: value, **script}
        with pytest.raises(ContractError) as refused:
            request_with(**fields)
        assert refused.value.field == field
        (warning,) = request_with(**fields, limits=LENIENT).warnings
        assert warning.startswith(f"{field}: ")


def test_a_latent_mask_says_nothing_without_a_mask() -> None:
    alone = {"init_images": [png()], "latent_mask": png("L")}
    with pytest.raises(ContractError, match="without mask") as refused:
        request_with(**alone)
    assert refused.value.field == "latent_mask"
    assert len(request_with(**alone, limits=LENIENT).warnings) == 1
    assert request_with(**alone, mask=png("L")).warnings == ()


def test_loopback_uses_them_all() -> None:
    script = {"script_name": "loopback", "script_args": [2]}
    images = {"init_images": [png(), png()], "batch_size": 2}
    assert request_with(**images, mask=png("L"), latent_mask=png("L"), **script).warnings == ()


def test_fields_are_reset_to_what_a_unit_has_by_itself() -> None:
    told = read(REVISION | {"control_mode": 1, "pulid_mode": "Extremely style"}, strict=False)
    assert len(told.warnings) == 2
    assert (told.control_mode, told.pulid_mode) == (
        ControlUnit().control_mode,
        ControlUnit().pulid_mode,
    )
