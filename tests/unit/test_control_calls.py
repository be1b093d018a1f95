"""The bodies of detect, of poses to be drawn, and of the extension's first API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from easel_contract.controlnet import MODULES
from easel_contract.controlnet.detect import REFUSED, UNFIT, DetectRequest, parse_detect
from easel_contract.controlnet.poses import Pose, parse_poses
from easel_contract.errors import ContractError
from easel_contract.images import ImageRules
from easel_contract.limits import Limits
from easel_contract.requests import parse_request
from easel_contract.requests.first_api import with_units

from .control_bodies import png

PNG = png()
PERSON = {"pose_keypoints_2d": [1, 2, 1.0] + [0.0] * 51, "face_keypoints_2d": None}
POSE = {"people": [PERSON], "canvas_width": 64, "canvas_height": 32}


def detect(limits: Limits | None = None, **fields: Any) -> DetectRequest:
    body = {f"controlnet_{name}": value for name, value in fields.items()}
    return parse_detect(json.dumps(body).encode(), limits or Limits())


def refuse(body: Any, parse: Any = parse_detect, limits: Limits | None = None) -> ContractError:
    with pytest.raises(ContractError) as refused:
        parse(json.dumps(body).encode(), limits or Limits())
    assert refused.value.status == 422
    return refused.value


@pytest.mark.parametrize("key", ["input_images", "images"])
def test_pictures_have_two_names(key: str) -> None:
    request = detect(module="canny", **{key: [PNG, PNG]})
    assert request.controlnet_input_images == [PNG, PNG]
    sliders = request.controlnet_processor_res, request.controlnet_threshold_a, request.controlnet_threshold_b
    assert sliders == (512, 100, 200)


def test_modules_are_known_by_their_labels_and_one_picture_needs_no_list() -> None:
    request = detect(module="invert (from white bg & black line)", images=PNG, input_images=[], masks=None)
    assert (request.controlnet_module, request.controlnet_input_images) == ("invert", [PNG])


def test_sliders_below_zero_are_the_modules_defaults_and_others_must_be_in_range() -> None:
    assert detect(
        module="canny", images=[PNG], processor_res=-100, threshold_a=-100.0, threshold_b=-100
    ) == detect(module="canny", images=[PNG])
    error = refuse({"controlnet_module": "canny", "controlnet_images": [PNG], "controlnet_threshold_a": 256})
    assert error.field == "controlnet_threshold_a"
    request = detect(Limits(strict=False), module="canny", images=[PNG], threshold_a=256)
    assert request.controlnet_threshold_a == 255
    assert request.warnings[0].startswith("controlnet_threshold_a: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"controlnet_module": "INVALID", "controlnet_images": [PNG]}, "Module not available"),
        *(
            ({"controlnet_module": name, "controlnet_images": [PNG]}, "Module not supported")
            for name in UNFIT
        ),
        ({"controlnet_module": "canny"}, "No image selected"),
        ({"controlnet_module": "canny", "controlnet_input_images": []}, "No image selected"),
        ({}, "No image selected"),
        *(
            (
                {"controlnet_module": name, "controlnet_images": [PNG]},
                f"Preprocessor {name} requires `controlnet_masks` param.",
            )
            for name, module in MODULES.items()
            if module.needs_mask and module.supported
        ),
    ],
)
def test_refusals_in_upstreams_words(body: dict[str, Any], message: str) -> None:
    error = refuse(body)
    assert (error.message, error.field, error.kind) == (message, "", REFUSED)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"controlnet_module": 7}, "controlnet_module"),
        ({"controlnet_module": "densepose", "controlnet_images": [PNG]}, "controlnet_module"),
        ({"controlnet_images": ["%"]}, "controlnet_input_images.0"),
        ({"controlnet_images": [PNG] * 9, "controlnet_module": "none"}, "controlnet_input_images"),
        ({"controlnet_images": [PNG], "controlnet_masks": ["%"]}, "controlnet_masks.0"),
        ({"controlnet_images": [PNG], "controlnet_masks": [PNG, PNG]}, "controlnet_masks"),
        ({"controlnet_images": [PNG], "controlnet_processor_res": "x"}, "controlnet_processor_res"),
    ],
)
def test_refusals_name_the_field(body: dict[str, Any], field: str) -> None:
    assert refuse(body, limits=Limits(max_batch_size=4, max_n_iter=2)).field == field


def test_each_picture_of_an_inpaint_module_has_a_mask() -> None:
    assert detect(module="inpaint_only", images=[PNG], masks=[PNG]).controlnet_masks == [PNG]
    body = {"controlnet_module": "inpaint_only", "controlnet_images": [PNG, PNG], "controlnet_masks": [PNG]}
    assert refuse(body).kind == REFUSED


def test_poses_are_read() -> None:
    (pose,) = parse_poses(json.dumps([POSE]).encode(), Limits())
    assert (pose.canvas_width, pose.canvas_height, pose.animals) == (64, 32, [])
    assert pose.people[0].pose_keypoints_2d == PERSON["pose_keypoints_2d"]
    animal = {"people": None, "animals": [[0.5] * 51], "canvas_width": 8, "canvas_height": 8}
    assert parse_poses(json.dumps([animal]).encode(), Limits())[0].people == []
    assert parse_poses(b"[]", Limits()) == parse_poses(b"", Limits()) == ()
    assert Pose.model_validate(pose.model_dump()) == pose


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ([{"foo": 1, "bar": 2}], "0.canvas_width"),
        ([POSE, POSE | {"canvas_width": 0}], "1.canvas_width"),
        ([POSE | {"canvas_width": 1000}], "0.canvas_width"),
        ([POSE | {"people": [{}]}], "0.people.0.pose_keypoints_2d"),
        ([POSE | {"people": [{"pose_keypoints_2d": [1, 2]}]}], "0.people.0.pose_keypoints_2d"),
        ([POSE | {"people": [{"pose_keypoints_2d": [0] * 57}]}], "0.people.0.pose_keypoints_2d"),
        ([POSE | {"people": [{"pose_keypoints_2d": ["NaN", 0, 0]}]}], "0.people.0.pose_keypoints_2d.0"),
        ([POSE | {"animals": [[1, 2, 3, 4]]}], "0.animals.0"),
        ([POSE] * 9, ""),
    ],
)
def test_what_is_no_pose_is_refused(body: Any, field: str) -> None:
    limits = Limits(max_batch_size=4, max_n_iter=2, images=ImageRules(max_pixels=4096))
    assert refuse(body, parse_poses, limits).field == field


def rewritten(body: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(with_units(json.dumps(body).encode())))


def test_the_first_apis_units_become_those_of_today() -> None:
    unit = {"module": "canny", "input_image": PNG}
    assert rewritten({"prompt": "a", "controlnet_units": [unit]}) == {
        "prompt": "a",
        "alwayson_scripts": {"controlnet": {"args": [unit]}},
    }
    others = {"save_dir": "x", "ControlNet": {"args": []}}
    assert rewritten({"controlnet_units": [unit], "alwayson_scripts": others})["alwayson_scripts"] == {
        "save_dir": "x",
        "controlnet": {"args": [unit]},
    }
    for body in (
        {"prompt": "a"},
        {"prompt": "a", "controlnet_units": []},
        {"prompt": "a", "controlnet_units": None},
    ):
        assert rewritten(body) == {"prompt": "a"}


def test_units_that_are_spread_over_the_body_are_gathered() -> None:
    spread = {
        "controlnet_image": ["A", "B"],
        "controlnet_mask": ["M"],
        "controlnet_module": "",
        "controlnet_weight": 0.5,
    }
    found = rewritten({"prompt": "a", **spread})["alwayson_scripts"]["controlnet"]["args"]
    assert found == [
        {"module": "", "weight": 0.5, "image": "A", "mask": "M"},
        {"module": "", "weight": 0.5, "image": "B", "mask": None},
    ]
    assert rewritten({"prompt": "a", **spread, "controlnet_image": []}) == {"prompt": "a"}


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
def test_a_task_at_the_first_apis_address_is_read_with_its_units(kind: str) -> None:
    """The EAS addresses store any bytes, so who takes the task from the queue reads them."""
    unit = {"module": "canny", "model": "edges", "input_image": PNG}
    body: dict[str, Any] = {"prompt": "a", "init_images": [PNG]} if kind == "img2img" else {"prompt": "a"}
    today = {**body, "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    expected = parse_request(f"/sdapi/v1/{kind}", json.dumps(today).encode(), Limits())
    assert expected is not None
    assert [one.module for one in expected.units] == ["canny"]
    for path in (f"/controlnet/{kind}", f"controlnet/{kind}/"):
        body |= {"controlnet_units": [unit]}
        assert parse_request(path, json.dumps(body).encode(), Limits()) == expected
    with pytest.raises(ContractError, match="is not a list"):
        parse_request(f"/controlnet/{kind}", b'{"controlnet_units": 1}', Limits())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"controlnet_units": {}}, "controlnet_units"),
        ({"controlnet_units": [{}], "alwayson_scripts": [1]}, "alwayson_scripts"),
        ({"controlnet_units": [{}], "alwayson_scripts": {"ControlNet": {"args": [{}]}}}, "alwayson_scripts"),
    ],
)
def test_units_in_two_places_or_of_no_shape_are_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ContractError) as refused:
        with_units(json.dumps(body).encode())
    assert refused.value.field == field
