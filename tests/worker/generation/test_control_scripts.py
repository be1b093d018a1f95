"""Units together with scripts, with the queue's affinity, and with what is stored."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_contract.needs import needs_of
from easel_contract.requests import parse_txt2img

from ..desk import BARE, Desk, as_text
from .controlled import CANNY, controlled, drawing, equal, unit, units


def test_a_plot_shows_a_map_once(control_desk: Desk) -> None:
    script = {"script_name": "x/y/z plot", "script_args": ["Steps", "2,3", "", "CFG Scale", "3,5", ""]}
    answer = control_desk.txt2img(**units(unit()), **script)
    maps = [image for image in answer.images if image.size == (64, 64)]
    assert np.array_equal(np.asarray(maps[-1]), controlled(control_desk).pixels[1])
    plain = control_desk.txt2img(**script)
    assert len(answer.images) == len(plain.images) + 1
    assert not np.array_equal(answer.pixels[0], plain.pixels[0])


def test_loopback_follows_each_of_its_pictures(control_desk: Desk) -> None:
    script = {"script_name": "loopback", "script_args": [2, 0.5, "Linear", "None"]}
    lent = control_desk.img2img(drawing(), **units(unit(image=None)), **script)
    own = control_desk.img2img(drawing(), **units(unit()), **script)
    shots = len(own.info["infotexts"])
    assert len(own.images) == shots + 1, "one map for all loops"
    assert len(lent.images) == shots + 2, "a map of each loop's picture"


def test_sd_upscale_follows_its_tiles(control_desk: Desk) -> None:
    script = {"script_name": "sd upscale", "script_args": [None, 16, "Lanczos", 1.5]}
    lent = control_desk.img2img(drawing(), **units(unit(image=None)), **script)
    plain = control_desk.img2img(drawing(), **script)
    assert lent.images[0].size == plain.images[0].size == (96, 96)
    assert not np.array_equal(lent.pixels[0], plain.pixels[0])
    assert len(lent.images) == 1 + 4, "a map of each tile"


def test_maps_without_torch_are_made_in_the_prefetch_stage(control_desk: Desk) -> None:
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5}
    plan = control_desk.plan(**hires, **units(unit()))
    [made] = plan.job.units
    assert sorted(hint.size for hint in made.known.values()) == [(64, 64), (96, 96)]


@pytest.mark.parametrize("saved", [False, True])
def test_maps_are_stored_where_the_option_says_so(control_desk: Desk, saved: bool) -> None:
    folder = f"outputs/maps-{saved}"
    override = {"control_net_detectmap_autosaving": saved, "outdir_samples": folder}
    answer = controlled(control_desk, {"save_images": True, "override_settings": override})
    assert len(answer.images) == 2
    stored = list((control_desk.settings.data_dir / folder).rglob("controlnet_mask/*/*.png"))
    assert len(stored) == saved
    if saved:
        assert np.array_equal(np.asarray(Image.open(stored[0])), answer.pixels[1])


def test_save_dir_answers_the_maps_paths(control_desk: Desk) -> None:
    script = {"ControlNet": {"args": [unit()]}, "save_dir": "kept", "id_task": "7"}
    answer = control_desk.txt2img(alwayson_scripts=script, n_iter=2)
    parameters: dict[str, Any] = answer.body["parameters"]
    [mask] = parameters["image_mask_url"].split(",")
    assert mask.startswith("kept/controlnet_mask/")
    assert (control_desk.settings.data_dir / mask).is_file()
    assert len(parameters["image_url"].split(",")) == 3


def test_a_units_model_is_a_need_and_its_request_shares_no_batch(control_desk: Desk) -> None:
    sent = unit() | {"image": as_text(drawing())}
    limits = control_desk.settings.limits()
    request = parse_txt2img(json.dumps({**BARE, **units(sent)}).encode(), limits)
    needs = needs_of(request, lambda name: name)
    assert needs.models == (f"checkpoint: controlnet:{CANNY}", "checkpoint:")
    assert needs.batch == ""
    control_desk.txt2img(**units(unit()))
    assert needs.models[0] in control_desk.handler.at_hand()


def test_tiling_reaches_the_control_network(control_desk: Desk) -> None:
    tiled = controlled(control_desk, {"tiling": True})
    assert not equal(tiled, controlled(control_desk))
    assert not equal(tiled, control_desk.txt2img(tiling=True))


def test_a_refiner_goes_on_with_the_unit(control_desk: Desk) -> None:
    refined = {"refiner_checkpoint": "tiny-random", "refiner_switch_at": 0.5}
    assert equal(controlled(control_desk, refined), controlled(control_desk))
