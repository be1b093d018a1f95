"""What ControlNet units come to in a request: limits, leniency, and what they lack and get from img2img."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel_contract.controlnet import (
    MODULES,
    ControlUnit,
    Units,
    read_units,
)
from easel_contract.controlnet.combining import Init
from easel_contract.controlnet.spellings import ALIASES, IDLE
from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import parse_txt2img

from .control_bodies import EDGES, UNIT, edges, png, read, refuse, request_with


def test_a_lenient_service_takes_the_nearest_value_and_says_so() -> None:
    unit = read(EDGES | {"processor_res": 5000, "threshold_a": 256}, strict=False)
    assert (unit.processor_res, unit.threshold_a) == (2048, 255.0)
    assert [text.partition(":")[0] for text in unit.warnings] == [
        f"{UNIT}.processor_res",
        f"{UNIT}.threshold_a",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"module": "foo"},
        {"module": "densepose"},
        {"model": None},
        {"image": None},
        {"module": "inpaint_only"},
    ],
)
def test_a_lenient_service_leaves_out_what_would_do_nothing_and_says_so(fields: dict[str, Any]) -> None:
    other = {**EDGES, "model": "other"}
    found = read_units([EDGES | fields, other], limit=3, strict=False)
    assert [unit.model for unit in found.units] == ["other"]
    (warning,) = found.warnings
    assert warning.startswith(f"{UNIT}.")
    assert warning.endswith("the unit is left out")


def test_a_lenient_service_refuses_values_of_the_wrong_kind() -> None:
    with pytest.raises(ContractError, match="weight"):
        read_units([EDGES | {"weight": 3}], limit=3, strict=False)


def test_fields_that_do_nothing_are_told_where_they_ask_for_something() -> None:
    assert edges(guess_mode=0, loopback=False, batch_images=[], input_mode="simple").warnings == ()
    unit = edges(guess_mode=True, loopback=True, input_mode="batch", batch_images="/pictures")
    named = {text.partition(":")[0].removeprefix(f"{UNIT}.") for text in unit.warnings}
    assert named == {"guessmode", "loopback", "input_mode", "batch_images"}
    assert request_with(EDGES | {"image": png(), "loopback": True}).warnings == (
        f"{UNIT}.loopback: does nothing here; send the picture again as the next request's",
    )


def test_modules_without_a_model() -> None:
    unit = read({"module": "reference_only", "image": "A"})
    assert (unit.model, unit.threshold_a, unit.warnings) == (None, 0.5, ())
    unit = read({"module": "reference_only", "image": "A", "model": "edges"})
    assert unit.model is None
    assert unit.warnings[0].startswith(f"{UNIT}.model")


@pytest.mark.parametrize(
    "module", [name for name, module in MODULES.items() if module.needs_mask and module.supported]
)
def test_inpainting_needs_a_mask_or_room_to_fill(module: str) -> None:
    unit = {"module": module, "model": "inpaint"}
    assert refuse(unit | {"image": "A"}).field == f"{UNIT}.mask"
    assert read(unit | {"image": {"image": "A", "mask": "B"}}).mask == "B"
    assert read(unit | {"image": "A", "resize_mode": 2}).mask is None
    assert refuse(unit | {"image": png("RGB")}).field == f"{UNIT}.mask"
    for head in ("", "data:image/png;base64,"):  # what is transparent is masked
        assert read(unit | {"image": head + png("RGBA")}).mask is None
    # What img2img has stands in; a resize mode is that of its own picture.
    assert refuse(unit, init=Init()).field == f"{UNIT}.mask"
    assert refuse(unit | {"resize_mode": 2}, init=Init()).field == f"{UNIT}.mask"
    for init in (Init(mask=True), Init(fill=True)):
        assert read(unit, init=init).pictures == ()
    masked = read(unit | {"mask": "B"}, init=Init())
    assert (masked.pictures, masked.mask, masked.texts) == ((), "B", {f"{UNIT}.mask": "B"})


def test_embeddings_stand_in_for_pictures() -> None:
    unit = {"module": "ip-adapter_clip_h", "model": "ip"}
    assert read(unit | {"ipadapter_input": "T"}).ipadapter_input == ("T",)
    assert read(unit | {"ipadapter_input": ["T", "U"]}).ipadapter_input == ("T", "U")


def test_units_that_are_off_are_not_looked_at_and_keep_their_place() -> None:
    args = [{"enabled": False, "module": "foo"}, None, {}, False, {**EDGES, "enabled": "true"}, EDGES]
    found = read_units(args, limit=2, strict=True)
    assert [unit.index for unit in found.units] == [4, 5]
    with pytest.raises(ContractError) as refused:
        read_units(["canny"], limit=2, strict=True)
    assert refused.value.field == UNIT


def test_units_beyond_the_limit_are_refused_or_told() -> None:
    with pytest.raises(ContractError, match=r"at most 2 \(EASEL_CONTROLNET_UNITS\)") as refused:
        read_units([EDGES] * 3, limit=2, strict=True)
    assert refused.value.field == "alwayson_scripts.controlnet.args"
    found = read_units([EDGES] * 3, limit=2, strict=False)
    assert len(found.units) == 2
    assert "the first 2 are used" in found.warnings[0]


def test_a_request_has_its_units_and_their_pictures_are_looked_at() -> None:
    sent = EDGES | {"image": png()}
    request = request_with(sent, {"enabled": False})
    assert [unit.module for unit in request.units] == ["canny"]
    for fields, field in (
        ({"image": "%"}, "image"),
        ({"image": {"image": png(), "mask": "%"}}, "image.mask"),
        ({"image": "file:///etc/passwd"}, "image"),
        ({"image": None, "image_link": "ftp://a/b"}, "image_link"),
        ({"mask": "%"}, "mask"),
        ({"effective_region_mask": "%"}, "effective_region_mask"),
    ):
        with pytest.raises(ContractError) as refused:
            request_with(sent | fields)
        assert refused.value.field == f"{UNIT}.{field}"


def test_the_operators_limits_count() -> None:
    unit = EDGES | {"image": png()}
    assert len(request_with(*[unit] * 10).units) == 10
    for limits in (Limits(max_units=1), Limits(max_units=1, strict=False)):
        if limits.strict:
            with pytest.raises(ContractError, match="at most 1"):
                request_with(unit, unit, limits=limits)
        else:
            request = request_with(unit, unit, limits=limits)
            assert (len(request.units), len(request.warnings)) == (1, 1)


def test_img2imgs_picture_and_mask_stand_in() -> None:
    unit = {"module": "inpaint_only", "model": "inpaint"}
    with pytest.raises(ContractError, match="no picture"):
        request_with(unit)
    with pytest.raises(ContractError, match="needs one"):
        request_with(unit, init_images=[png()])
    for fields in (
        {"mask": png("L")},
        {"resize_mode": 2},
        {"script_name": "outpainting mk2", "script_args": ["", 64, 0, ["up"]]},
    ):
        assert request_with(unit, init_images=[png()], **fields).units[0].pictures == ()
    tiled = {"script_name": "sd upscale", "script_args": ["", 16, "None", 2]}
    with pytest.raises(ContractError, match="needs one"):
        request_with(unit, init_images=[png()], resize_mode=2, **tiled)


def test_two_spellings_of_the_scripts_name_are_refused() -> None:
    body = {
        "alwayson_scripts": {
            name: {"args": [EDGES | {"image": png()}]} for name in ("ControlNet", "controlnet")
        }
    }
    with pytest.raises(ContractError, match="given twice"):
        parse_txt2img(json.dumps(body).encode(), Limits())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["image", "mask"]), inner),
    max_leaves=4,
)
names = st.sampled_from([*ControlUnit.model_fields, "enabled", "image", "image_link", *ALIASES, *IDLE, "foo"])
modules = st.sampled_from([*MODULES, "foo", "None"])


def outcome(units: list[Any], *, strict: bool, init: Init | None) -> tuple[Units, str]:
    """What was read, or the field that was refused."""
    try:
        return read_units(units, limit=3, strict=strict, init=init), ""
    except ContractError as error:
        return Units(), error.field


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(names, json_values),
    modules,
    st.booleans(),
    st.sampled_from([None, Init(), Init(mask=True)]),
)
def test_anything_is_either_read_or_refused_by_name(
    unit: dict[str, Any], module: str, strict: bool, init: Init | None
) -> None:
    found, field = outcome([EDGES | {"module": module} | unit], strict=strict, init=init)
    assert field.startswith(UNIT) or not field
    for one in found.units:
        module_found = MODULES[one.module]
        for value, slider in zip(
            (one.processor_res, one.threshold_a, one.threshold_b),
            (module_found.resolution, module_found.a, module_found.b),
            strict=True,
        ):
            assert value == -1 if slider is None else slider.minimum <= value <= slider.maximum
        assert one.guidance_start <= one.guidance_end
        assert ControlUnit.model_validate(one.model_dump()) == one
