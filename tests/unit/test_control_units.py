"""ControlNet units as clients send them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import webuiapi
from PIL import Image

from easel_contract.controlnet import (
    ControlMode,
    ControlUnit,
    HrOption,
    PulidMode,
    ResizeMode,
    UnionControlType,
)
from easel_contract.controlnet.combining import Init
from easel_contract.controlnet.spellings import ALIASES, IDLE

from .control_bodies import EDGES, GUIDE_UNIT, UNIT, edges, read, refuse


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
    unit = read(GUIDE_UNIT)
    assert (unit.texts, unit.warnings) == ({f"{UNIT}.image_link": GUIDE_UNIT["image_link"]}, ())
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
    unit = edges(hr_option="high res ONLY", pulid_mode="fidelity", union_control_type="soft edge")
    assert unit.hr_option is HrOption.HIGH
    assert unit.pulid_mode is PulidMode.FIDELITY
    assert ControlUnit.model_validate({"pulid_mode": "extremely style"}).pulid_mode is PulidMode.STYLE
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
