"""ControlNet units as clients send them."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import pytest
import webuiapi
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from easel_contract.controlnet import (
    MODULES,
    ControlMode,
    ControlUnit,
    HrOption,
    PulidMode,
    ResizeMode,
    UnionControlType,
    Units,
    read_units,
)
from easel_contract.controlnet.combining import Init
from easel_contract.controlnet.spellings import ALIASES, IDLE
from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests import GenerationRequest, parse_img2img, parse_txt2img

UNIT = "alwayson_scripts.controlnet.args[0]"
EDGES = {"module": "canny", "model": "edges", "image": "A"}


def png(mode: str = "RGB", size: int = 8) -> str:
    file = io.BytesIO()
    Image.new(mode, (size, size)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def read(unit: dict[str, Any], *, init: Init | None = None, strict: bool = True) -> ControlUnit:
    (found,) = read_units([unit], limit=3, strict=strict, init=init).units
    return found


def edges(**fields: Any) -> ControlUnit:
    return read(EDGES | fields)


def refuse(unit: dict[str, Any], *, init: Init | None = None) -> ContractError:
    with pytest.raises(ContractError) as refused:
        read_units([unit], limit=3, strict=True, init=init)
    assert refused.value.status == 422
    return refused.value


def request_with(*units: Any, limits: Limits | None = None, **fields: Any) -> GenerationRequest:
    body = {**fields, "alwayson_scripts": {"ControlNet": {"args": list(units)}}}
    parse = parse_img2img if "init_images" in fields else parse_txt2img
    return parse(json.dumps(body).encode(), limits or Limits())


def test_what_is_not_said_has_the_extensions_defaults() -> None:
    unit = edges()
    assert unit.model_dump(exclude={"module", "model", "pictures"}) == {
        "index": 0,
        "mask": None,
        "weight": 1.0,
        "resize_mode": ResizeMode.CROP_AND_RESIZE,
        "low_vram": False,
        "processor_res": 512,
        "threshold_a": 100.0,
        "threshold_b": 200.0,
        "guidance_start": 0.0,
        "guidance_end": 1.0,
        "pixel_perfect": False,
        "control_mode": ControlMode.BALANCED,
        "inpaint_crop_input_image": True,
        "hr_option": HrOption.BOTH,
        "save_detected_map": True,
        "advanced_weighting": None,
        "effective_region_mask": None,
        "pulid_mode": PulidMode.FIDELITY,
        "union_control_type": UnionControlType.UNKNOWN,
        "ipadapter_input": None,
        "warnings": (),
    }
    assert unit.field == UNIT


def test_null_empty_text_and_unknown_keys_say_nothing() -> None:
    nothing = dict.fromkeys(ControlUnit.model_fields.keys() - {"index", "pictures", "warnings"})
    empty = dict.fromkeys([*nothing, *ALIASES, *IDLE], "")
    assert edges(**nothing | EDGES, foo="bar", is_ui=False) == edges()
    assert edges(**empty | EDGES) == edges()


def test_the_clouds_own_request_is_read() -> None:
    link = "https://pictures.example.com/boy.jpg"
    unit = read(
        {
            "image_link": link,
            "enabled": True,
            "module": "canny",
            "model": "control_v11p_sd15_canny",
            "weight": 1,
            "resize_mode": "Crop and Resize",
            "low_vram": False,
            "processor_res": 512,
            "threshold_a": 100,
            "threshold_b": 200,
            "guidance_start": 0,
            "guidance_end": 1,
            "pixel_perfect": True,
            "control_mode": "Balanced",
            "input_mode": "simple",
            "batch_images": "",
            "output_dir": "",
            "loopback": False,
        }
    )
    assert (unit.texts, unit.warnings) == ({f"{UNIT}.image_link": link}, ())
    assert (unit.model, unit.pixel_perfect) == ("control_v11p_sd15_canny", True)


def test_webuiapis_units_are_read() -> None:
    for module in ("canny", "none", "reference_only", "depth_leres", "tile_resample", "mlsd"):
        picture = Image.new("RGB", (8, 8))
        sent = webuiapi.ControlNetUnit(image=picture, mask=picture, module=module, model="m", control_mode=2)
        unit = read(sent.to_dict())
        assert unit.resize_mode is ResizeMode.RESIZE_AND_FILL
        assert unit.control_mode is ControlMode.CONTROL
        assert unit.mask is not None
        assert unit.pictures[0].mask == unit.mask
    # With an img2img picture it sends an empty text.
    sent = webuiapi.ControlNetUnit(module="canny", model="m").to_dict()
    assert sent["image"] == ""
    assert read(sent, init=Init()).pictures == ()


def test_the_units_of_the_javascript_clients_are_read() -> None:
    # stable-diffusion-api
    unit = read(
        {
            "input_image": "A",
            "module": "mlsd",
            "model": "m",
            "weight": 1,
            "resize_mode": "Scale to Fit (Inner Fit)",
            "lowvram": False,
            "processor_res": 64,
            "threshold_a": 64,
            "threshold_b": 64,
            "guidance": 1,
            "guidance_start": 0,
            "guidance_end": 1,
            "guessmode": False,
        }
    )
    assert (unit.processor_res, unit.threshold_a, unit.threshold_b) == (64, 0.1, 0.1)
    assert unit.warnings == ()
    # node-sd-webui
    unit = read(
        {
            "module": "canny",
            "model": "control_sd15_canny",
            "weight": 1,
            "guidance_start": 0,
            "guidance_end": 1,
            "resize_mode": "Envelope (Outer Fit)",
            "guess_mode": False,
            "lowvram": True,
            "input_image": "A",
        }
    )
    assert (unit.resize_mode, unit.low_vram) == (ResizeMode.RESIZE_AND_FILL, True)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        *((mode.value, mode) for mode in ResizeMode),
        *((mode.label, mode) for mode in ResizeMode),
        (3, ResizeMode.JUST_RESIZE),
        ("2", ResizeMode.RESIZE_AND_FILL),
        (1.0, ResizeMode.CROP_AND_RESIZE),
        (" just RESIZE ", ResizeMode.JUST_RESIZE),
        ("Inner Fit (Scale to Fit)", ResizeMode.CROP_AND_RESIZE),
        ("Scale to Fit (Inner Fit)", ResizeMode.CROP_AND_RESIZE),
        ("Outer Fit (Shrink to Fit)", ResizeMode.RESIZE_AND_FILL),
        ("Envelope (Outer Fit)", ResizeMode.RESIZE_AND_FILL),
    ],
)
def test_spellings_of_resize_mode(sent: object, expected: ResizeMode) -> None:
    assert edges(resize_mode=sent).resize_mode is expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        *((mode.value, mode) for mode in ControlMode),
        *((mode.label, mode) for mode in ControlMode),
        ("1", ControlMode.PROMPT),
        ("controlnet is MORE important", ControlMode.CONTROL),
    ],
)
def test_spellings_of_control_mode(sent: object, expected: ControlMode) -> None:
    assert edges(control_mode=sent).control_mode is expected


def test_words() -> None:
    unit = edges(hr_option="high res ONLY", pulid_mode="extremely style", union_control_type="soft edge")
    assert unit.hr_option is HrOption.HIGH
    assert unit.pulid_mode is PulidMode.STYLE
    assert unit.union_control_type is UnionControlType.SOFT_EDGE


@pytest.mark.parametrize(
    ("fields", "image", "mask"),
    [
        ({"image": "A"}, "A", None),
        ({"image": {"image": "A"}}, "A", None),
        ({"image": {"image": "A", "mask": None}}, "A", None),
        ({"image": {"image": "A", "mask": ""}}, "A", None),
        ({"image": {"image": "A", "mask": "B"}}, "A", "B"),
        ({"image": ["A", "B"]}, "A", "B"),
        ({"image": ["A", None]}, "A", None),
        ({"image": [{"image": "A"}]}, "A", None),
        ({"image": [{"image": "A", "mask": "B"}]}, "A", "B"),
        ({"image": "A", "mask": "B"}, "A", "B"),
        ({"image": "A", "mask_image": "B"}, "A", "B"),
        ({"image": {"image": "A"}, "mask": "B"}, "A", "B"),
        ({"image": None, "input_image": "A"}, "A", None),
        ({"image": "A", "input_image": "A"}, "A", None),
        ({"image": "", "image_link": "http://a/b", "mask": "B"}, "http://a/b", "B"),
    ],
)
def test_forms_of_a_picture(fields: dict[str, Any], image: str, mask: str | None) -> None:
    unit = edges(**fields)
    (picture,) = unit.pictures
    assert (picture.image, picture.mask, unit.mask) == (image, mask, mask)
    assert list(unit.texts.values()) == [text for text in (image, mask) if text]


@pytest.mark.parametrize(
    "image",
    [{"mask": "B"}, {"foo": "A"}, {"image": "A", "foo": "B"}, ["A"], ["A", "B", "C"], [], [{"mask": "B"}],
     [{"image": "A"}, "B"], {"image": ""}, {"image": 1}, {"image": "A", "mask": 1}, 7, True, [None, "B"], {}],
)  # fmt: skip
def test_what_is_no_picture_is_refused(image: object) -> None:
    assert refuse(EDGES | {"image": image}).field.startswith(f"{UNIT}.image")


def test_several_pictures_are_for_adapters() -> None:
    many = [{"image": "A"}, {"image": "B", "mask": "C"}]
    unit = read({"module": "ip-adapter_clip_h", "model": "ip", "image": many})
    assert unit.module == "ip-adapter_clip_sd15"
    assert [(picture.image, picture.mask) for picture in unit.pictures] == [("A", None), ("B", "C")]
    assert unit.mask is None
    assert unit.texts == {
        f"{UNIT}.image.0.image": "A",
        f"{UNIT}.image.1.image": "B",
        f"{UNIT}.image.1.mask": "C",
    }
    assert refuse(EDGES | {"image": many}).field == f"{UNIT}.image"
    both = {"module": "ip-adapter_clip_h", "model": "ip", "image": many, "mask": "D"}
    assert refuse(both).field == f"{UNIT}.mask"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"weight": -1}, "weight"),
        ({"weight": 100}, "weight"),
        ({"weight": "NaN"}, "weight"),
        ({"weight": math.inf}, "weight"),
        ({"weight": "much"}, "weight"),
        ({"resize_mode": "Fit"}, "resize_mode"),
        ({"resize_mode": 4}, "resize_mode"),
        ({"resize_mode": 0.5}, "resize_mode"),
        ({"resize_mode": True}, "resize_mode"),
        ({"resize_mode": math.inf}, "resize_mode"),
        ({"control_mode": 3}, "control_mode"),
        ({"control_mode": []}, "control_mode"),
        ({"guidance_start": -0.1}, "guidance_start"),
        ({"guidance_end": 1.1}, "guidance_end"),
        ({"guidance_start": 0.6, "guidance_end": 0.5}, "guidance_end"),
        ({"guidance": 0.4, "guidance_end": 0.5}, "guidance_end"),
        ({"processor_res": 5000}, "processor_res"),
        ({"processor_res": 10}, "processor_res"),
        ({"processor_res": 512.5}, "processor_res"),
        ({"threshold_a": 256}, "threshold_a"),
        ({"threshold_b": "NaN"}, "threshold_b"),
        ({"threshold_b": 0}, "threshold_b"),
        ({"pixel_perfect": "perhaps"}, "pixel_perfect"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"hr_option": "Low"}, "hr_option"),
        ({"union_control_type": "Edge"}, "union_control_type"),
        ({"pulid_mode": "Faithful"}, "pulid_mode"),
        ({"effective_region_mask": 7}, "effective_region_mask"),
        ({"advanced_weighting": []}, "advanced_weighting"),
        ({"advanced_weighting": ["NaN"]}, "advanced_weighting.0"),
        ({"advanced_weighting": [1.0] * 65}, "advanced_weighting"),
        ({"advanced_weighting": 1.0}, "advanced_weighting"),
        ({"mask": "B", "mask_image": "B"}, "mask"),
        ({"image": {"image": "A", "mask": "B"}, "mask": "B"}, "mask"),
        ({"mask": 7}, "mask"),
        ({"input_image": "B"}, "image"),
        ({"image_link": "http://a/b"}, "image_link"),
        ({"image": None, "image_link": 7}, "image_link"),
        ({"module": "foo"}, "module"),
        ({"module": 7}, "module"),
        ({"module": "densepose"}, "module"),
        ({"model": 7}, "model"),
        ({"model": "None"}, "model"),
        ({"module": "reference_only", "advanced_weighting": [1.0]}, "advanced_weighting"),
        ({"module": "reference_only", "effective_region_mask": "M"}, "effective_region_mask"),
        ({"image": ""}, "image"),
        ({"module": "inpaint_only"}, "mask"),
        ({"ipadapter_input": "T", "image": ""}, "ipadapter_input"),
        ({"module": "ip-adapter_clip_h", "ipadapter_input": [], "image": ""}, "ipadapter_input"),
        ({"module": "ip-adapter_clip_h", "ipadapter_input": "T"}, "ipadapter_input"),
    ],
)
def test_refusals_name_unit_and_field(fields: dict[str, Any], field: str) -> None:
    assert refuse(EDGES | fields).field == f"{UNIT}.{field}"


def test_an_unknown_module_is_refused_in_upstreams_words_with_those_that_are_like_it() -> None:
    error = refuse(EDGES | {"module": "cany"})
    assert "module(cany) not found in supported modules." in error.message
    assert "canny" in error.message.partition(".")[2]


@pytest.mark.parametrize("weight", [0, 0.5, "1.5", 2])
def test_weights(weight: Any) -> None:
    assert edges(weight=weight).weight == float(weight)


def test_the_end_of_guidance_has_two_names() -> None:
    assert edges(guidance=0.5).guidance_end == 0.5
    assert edges(guidance=0.5, guidance_end=1).guidance_end == 0.5
    assert edges(guidance=1, guidance_end=0.5).guidance_end == 0.5
    assert edges(guidance_start=0.5, guidance_end=0.5).guidance_start == 0.5


def test_sliders_are_the_modules() -> None:
    assert edges(processor_res=-100, threshold_a=-100, threshold_b=-100) == edges()
    assert edges(processor_res=0) == edges()
    told = edges(processor_res="768", threshold_a=1, threshold_b=254.5)
    assert (told.processor_res, told.threshold_a, told.threshold_b) == (768, 1.0, 254.5)
    none = edges(module="None", processor_res=768, threshold_a=7)
    assert (none.module, none.processor_res, none.threshold_a) == ("none", -1, -1)
    anyline = edges(module="softedge_anyline")
    assert (anyline.processor_res, anyline.threshold_a, anyline.threshold_b) == (1280, 2.0, -1)


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
        request_with(unit, init_images=[png()], mask=png("L"), resize_mode=2, **tiled)


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
