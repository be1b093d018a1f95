"""What a ControlNet unit does to a generation: that it acts, when, on what, and what is answered."""

from __future__ import annotations

from typing import Any

import pytest

from easel_contract.infotext import parse
from easel_contract.requests import UNITS_IMG2IMG_PATH, UNITS_TXT2IMG_PATH
from easel_worker.handlers.registry import Registry

from ..desk import Desk
from .controlled import CANNY, INPAINT, LAYERS, controlled, drawing, equal, unit, units


def test_a_unit_changes_the_picture_and_answers_its_map(control_desk: Desk) -> None:
    plain = control_desk.txt2img()
    answer = controlled(control_desk)
    assert not equal(answer, plain)
    assert len(answer.images) == 2
    assert len(answer.info["infotexts"]) == 1, "maps have none"
    edges = answer.pixels[1]
    assert edges.shape == (64, 64, 3)
    assert set(edges.flatten()) == {0, 255}


def test_units_of_the_first_apis_body_act_as_todays(control_desk: Desk) -> None:
    """A task that an EAS client put at that address: nobody has rewritten it on the way."""
    answer = control_desk.answer(control_desk.task(UNITS_TXT2IMG_PATH, controlnet_units=[unit()]))
    assert equal(answer, controlled(control_desk))
    assert len(answer.images) == 2
    answer = control_desk.answer(
        control_desk.task(UNITS_IMG2IMG_PATH, init_images=[drawing()], controlnet_units=[unit()])
    )
    assert equal(answer, control_desk.img2img(drawing(), **units(unit())))
    assert {UNITS_TXT2IMG_PATH, UNITS_IMG2IMG_PATH} <= set(Registry([control_desk.handler]).paths)


def test_weight_0_is_no_unit_bit_for_bit(control_desk: Desk) -> None:
    answer = controlled(control_desk, weight=0)
    assert equal(answer, control_desk.txt2img())
    assert len(answer.images) == 2, "its map is answered all the same"


def test_a_unit_that_is_off_is_none(control_desk: Desk) -> None:
    answer = controlled(control_desk, enabled=False)
    assert equal(answer, control_desk.txt2img())
    assert len(answer.images) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"guidance_end": 0.3},
        {"guidance_start": 0.6},
        {"weight": 0.5},
        {"control_mode": 1},
        {"control_mode": "ControlNet is more important"},
        {"image": drawing(shift=12)},
        {"module": "invert"},
        {"model": INPAINT},
        {"advanced_weighting": [0.1, *[1.0] * (LAYERS - 1)]},
        {"effective_region_mask": drawing()},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_each_field_matters(control_desk: Desk, fields: dict[str, Any]) -> None:
    whole = controlled(control_desk)
    assert not equal(controlled(control_desk, **fields), whole)


def test_the_same_request_is_the_same_picture(control_desk: Desk) -> None:
    assert equal(controlled(control_desk), controlled(control_desk))


def test_batches_follow_one_map(control_desk: Desk) -> None:
    for fields in ({"batch_size": 2}, {"n_iter": 2}):
        answer = controlled(control_desk, fields)
        assert len(answer.images) == 3, fields
        assert abs(answer.pixels[1].astype(int) - _at_seed(control_desk, 6)).max() <= 1
    assert len(answer.info["infotexts"]) == 2


def _at_seed(desk: Desk, seed: int) -> Any:
    return controlled(desk, {"seed": seed}).pixels[0].astype(int)


def test_several_units_add_up_and_answer_a_map_each(control_desk: Desk) -> None:
    one, two = unit(), unit(image=drawing(shift=10), module="invert", weight=0.7)
    both = control_desk.txt2img(**units(one, two))
    assert len(both.images) == 3
    assert not equal(both, control_desk.txt2img(**units(one)))
    assert not equal(both, control_desk.txt2img(**units(two)))


def test_maps_are_left_out_where_the_unit_or_the_service_says_so(control_desk: Desk) -> None:
    assert len(controlled(control_desk, save_detected_map=False).images) == 1
    quiet = {"override_settings": {"control_net_no_detectmap": True}}
    assert len(controlled(control_desk, quiet).images) == 1


def test_the_infotext_tells_the_unit_as_the_page_reads_it(control_desk: Desk) -> None:
    answer = controlled(
        control_desk, module="canny", threshold_a=50, guidance_end=0.8, control_mode=1, processor_res=256
    )
    hashed = answer.info["extra_generation_params"]["ControlNet 0"].split("Model: ")[1].split(",")[0]
    assert hashed.startswith(f"{CANNY} [")
    line = (
        f"Module: canny, Model: {hashed}, Weight: 1.0, Resize Mode: Crop and Resize, Processor Res: 256, "
        "Threshold A: 50.0, Threshold B: 200.0, Guidance Start: 0.0, Guidance End: 0.8, Pixel Perfect: True, "
        "Control Mode: My prompt is more important"
    )
    [text] = answer.info["infotexts"]
    assert f'ControlNet 0: "{line}"' in text
    assert parse(text)["ControlNet 0"] == line


def test_the_echo_has_the_units_as_they_were_sent(control_desk: Desk) -> None:
    sent = units(unit(image=None) | {"image": None, "module": "reference_only", "enabled": False})
    assert control_desk.txt2img(**sent).body["parameters"]["alwayson_scripts"] == sent["alwayson_scripts"]
