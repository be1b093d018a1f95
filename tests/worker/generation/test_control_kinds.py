"""Units that act otherwise than by a network: pictures as prompts, references, and colours put right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from easel_worker.annotators.embeddings import to_text
from easel_worker.diffusion.attention.clip_vision import ClipView
from easel_worker.diffusion.errors import JobError
from easel_worker.generation.control.models import KINDS
from easel_worker.imaging.color import rgb_to_lab

from ..desk import Desk
from .controlled import CANNY, IP_ADAPTER, box_mask, controlled, drawing, equal, unit, units

PROMPT = {"module": "ip-adapter_clip_h", "model": IP_ADAPTER}


def striped() -> Image.Image:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::8, 0] = pixels[::4, :, 2] = 255
    return Image.fromarray(pixels)


def test_a_picture_is_a_prompt(control_desk: Desk) -> None:
    answer = controlled(control_desk, **PROMPT)
    assert not equal(answer, control_desk.txt2img())
    assert not equal(answer, controlled(control_desk, **PROMPT, image=striped()))
    assert np.array_equal(answer.pixels[1], np.asarray(drawing())), "its map is the picture itself"
    assert equal(controlled(control_desk, **PROMPT, weight=0), control_desk.txt2img())


def test_auto_finds_the_encoder_by_the_models_name(control_desk: Desk) -> None:
    auto = controlled(control_desk, **PROMPT | {"module": "ip-adapter-auto"})
    assert equal(auto, controlled(control_desk, **PROMPT))


def test_several_pictures_make_one_prompt(control_desk: Desk) -> None:
    two = [{"image": drawing()}, {"image": striped()}]
    both = controlled(control_desk, **PROMPT, image=two)
    assert len(both.images) == 2
    for image in (drawing(), striped()):
        assert not equal(both, controlled(control_desk, **PROMPT, image=image))


def test_several_init_images_are_looked_at_each_by_its_picture(control_desk: Desk) -> None:
    images = [drawing(), striped()]
    lent = unit(**PROMPT, image=None)
    both = control_desk.img2img(images, batch_size=2, **units(lent))
    assert len(both.images) == 4
    for i, image in enumerate(images):
        alone = control_desk.img2img(image, seed=5 + i, **units(lent))
        assert abs(both.pixels[i].astype(int) - alone.pixels[0]).max() <= 1
        assert np.array_equal(both.pixels[2 + i], np.asarray(image))
    more = control_desk.img2img(images, batch_size=4, **units(lent))
    assert len(more.images) == 6, "two of the batch begin with one image each"
    assert abs(more.pixels[1].astype(int) - both.pixels[1]).max() <= 1


def test_a_mask_hides_parts_of_the_picture_from_the_prompt(control_desk: Desk) -> None:
    masked = controlled(control_desk, **PROMPT, mask=box_mask())
    assert not equal(masked, controlled(control_desk, **PROMPT))
    blank = [controlled(control_desk, **PROMPT, mask=Image.new("L", (64, 64), level)) for level in (0, 255)]
    assert equal(blank[0], controlled(control_desk, **PROMPT))
    assert equal(blank[0], blank[1])
    # The mask of img2img says what is painted, not what is looked at.
    lent = unit(**PROMPT, image=None)
    whole = {"inpaint_full_res": False}
    seen = control_desk.img2img(drawing(), mask=box_mask(), **whole, **units(lent))
    own = control_desk.img2img(drawing(), mask=box_mask(), **whole, **units(unit(**PROMPT)))
    assert equal(seen, own)


def test_an_embedding_stands_in_for_its_picture(control_desk: Desk) -> None:
    annotators = control_desk.handler._networks.annotators
    sent = to_text(annotators.embed("ip-adapter_clip_sd15", np.asarray(drawing())))
    answer = controlled(control_desk, **PROMPT, image=None, ipadapter_input=sent)
    assert equal(answer, controlled(control_desk, **PROMPT))
    assert len(answer.images) == 1, "there is no picture to show"


def test_an_embedding_of_another_encoder_is_told_of_its_field(control_desk: Desk) -> None:
    few = torch.zeros(1, 3, 7)
    sent = to_text(ClipView(projected=few[0, :1], hidden=few, blank=few))
    with pytest.raises(JobError, match=r"args\[0\]\.ipadapter_input: .* takes 64 features"):
        controlled(control_desk, **PROMPT, image=None, ipadapter_input=sent)


@pytest.mark.parametrize("module", ["reference_only", "reference_adain", "reference_adain+attn"])
def test_a_reference_needs_no_model(control_desk: Desk, module: str) -> None:
    fields = {"module": module, "model": "None"}
    answer = controlled(control_desk, **fields)
    assert not equal(answer, control_desk.txt2img())
    assert not equal(answer, controlled(control_desk, **fields, image=striped()))
    assert len(answer.images) == 2
    assert "Model: None," in answer.info["extra_generation_params"]["ControlNet 0"]
    assert equal(controlled(control_desk, **fields, weight=0), control_desk.txt2img())


def test_image_i_of_a_batch_with_a_reference_is_that_of_seed_plus_i(control_desk: Desk) -> None:
    fields = {"module": "reference_only", "model": "None"}
    batch = controlled(control_desk, {"batch_size": 2}, **fields)
    alone = controlled(control_desk, {"seed": 6}, **fields)
    assert abs(batch.pixels[1].astype(int) - alone.pixels[0]).max() <= 1


def test_all_kinds_go_together(control_desk: Desk) -> None:
    reference = unit(module="reference_only", model="None", image=striped())
    answer = control_desk.txt2img(**units(unit(), unit(**PROMPT), reference))
    assert len(answer.images) == 4
    shown = [answer.pixels[place] for place in (2, 3)]
    assert np.array_equal(shown[0], np.asarray(drawing()))
    assert np.array_equal(shown[1], np.asarray(striped()))


def test_recolor_keeps_the_lightness_of_the_picture(control_desk: Desk) -> None:
    answer = controlled(control_desk, module="recolor_luminance")
    plain = controlled(control_desk, module="none", image=answer.images[1])
    wanted = rgb_to_lab(np.asarray(drawing()))[..., 0]
    assert np.abs(rgb_to_lab(answer.pixels[0])[..., 0] - wanted).mean() < 4
    assert np.abs(rgb_to_lab(plain.pixels[0])[..., 0] - wanted).mean() > 10


def test_recolor_by_intensity_keeps_the_strongest_channel(control_desk: Desk) -> None:
    answer = controlled(control_desk, module="recolor_intensity")
    assert np.array_equal(answer.pixels[0].max(axis=2), np.asarray(drawing()).max(axis=2))


def test_tile_colorfix_takes_the_colours_of_the_picture(control_desk: Desk) -> None:
    fixed = controlled(control_desk, module="tile_colorfix").pixels[0].astype(float)
    plain = controlled(control_desk, module="none").pixels[0].astype(float)
    wanted = np.asarray(drawing(), dtype=float).mean(axis=(0, 1))
    assert np.abs(fixed.mean(axis=(0, 1)) - wanted).max() < 12
    assert np.abs(plain.mean(axis=(0, 1)) - wanted).max() > 20


def test_shuffle_is_drawn_by_the_seed(control_desk: Desk) -> None:
    def drawn(fields: dict[str, Any]) -> list[np.ndarray]:
        return controlled(control_desk, fields, module="shuffle", image=striped()).pixels[-2:]

    one, again, other = drawn({"seed": 1}), drawn({"seed": 1}), drawn({"seed": 2})
    assert np.array_equal(one[1], again[1])
    assert not np.array_equal(one[1], other[1])
    each = {"n_iter": 2, "override_settings": {"controlnet_increment_seed_during_batch": True}}
    maps = drawn({"seed": 1, **each})
    assert np.array_equal(maps[0], one[1])
    assert np.array_equal(maps[1], other[1])


def test_models_leave_when_there_are_too_many(control_desk: Desk) -> None:
    def held() -> set[str]:
        described: Any = control_desk.handler.describe()["models"]
        return {model["name"] for model in described if model["kind"] in KINDS}

    fields = {"override_settings": {"control_net_model_cache_size": 1}}
    control_desk.txt2img(**units(unit()), **fields)
    assert held() == {CANNY}
    control_desk.txt2img(**units(unit(**PROMPT)), **fields)
    assert CANNY not in held()
