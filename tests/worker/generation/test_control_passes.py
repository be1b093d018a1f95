"""Units in the hires pass, in img2img and under masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_contract.errors import ContractError

from ..desk import Answer, Desk
from .controlled import INPAINT, box_mask, controlled, drawing, equal, unit, units

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 2, "denoising_strength": 0.6}
LENT: dict[str, Any] = {"image": None}
"""Of a unit that looks at img2img's picture."""


def hires(desk: Desk, **fields: Any) -> Answer:
    return controlled(desk, HIRES, **fields)


def sizes(answer: Answer) -> list[tuple[int, int]]:
    return [image.size for image in answer.images]


def test_both_passes_are_controlled_with_a_map_of_each_size(control_desk: Desk) -> None:
    both = hires(control_desk)
    assert sizes(both) == [(96, 96), (64, 64), (96, 96)]
    low = hires(control_desk, hr_option="Low res only")
    assert sizes(low) == [(96, 96), (64, 64)]
    high = hires(control_desk, hr_option="High res only")
    assert sizes(high) == [(96, 96), (96, 96)]
    pictures = [both, low, high, control_desk.txt2img(**HIRES)]
    assert len({answer.pixels[0].tobytes() for answer in pictures}) == 4


def test_without_a_second_pass_its_option_means_nothing(control_desk: Desk) -> None:
    assert equal(controlled(control_desk, hr_option="High res only"), controlled(control_desk))


@pytest.mark.parametrize("module", ["canny", "recolor_luminance", "tile_colorfix", "inpaint_only"])
def test_a_second_pass_that_changes_nothing_leaves_the_first_ones_units(
    control_desk: Desk, module: str
) -> None:
    still = {**HIRES, "denoising_strength": 0}
    answer = controlled(control_desk, still, module=module, mask=box_mask())
    assert sizes(answer) == [(96, 96), (64, 64)]
    assert not equal(answer, control_desk.txt2img(**still))


def test_lines_are_followed_less_closely_in_the_second_pass(control_desk: Desk) -> None:
    # "none" hands the same map on, as a module whose lines are not known to be thin.
    edges = controlled(control_desk).images[1]
    canny = {"hr_option": "High res only", "processor_res": 64, "pixel_perfect": False}
    drawn = hires(control_desk, image=edges, module="none", hr_option="High res only")
    found = hires(control_desk, **canny)
    assert np.array_equal(drawn.pixels[1], found.pixels[1]), "the maps are the same"
    assert not equal(drawn, found)


def test_img2img_lends_its_picture(control_desk: Desk) -> None:
    lent = control_desk.img2img(drawing(), **units(unit(**LENT)))
    own = control_desk.img2img(drawing(), **units(unit(image=drawing())))
    assert equal(lent, own)
    assert not equal(lent, control_desk.img2img(drawing(), **units(unit(image=drawing(shift=10)))))
    assert not equal(lent, control_desk.img2img(drawing()))


def test_a_lent_picture_is_fitted_as_img2img_fits_it(control_desk: Desk) -> None:
    wide = drawing((96, 64))
    stretched, covered = (
        control_desk.img2img(wide, resize_mode=mode, **units(unit(**LENT, resize_mode=2))).pixels[1]
        for mode in (0, 1)
    )
    assert not np.array_equal(stretched, covered)
    edges = np.flatnonzero(stretched[32, :, 0])
    assert abs(int(edges[0]) - 16) <= 1, "stretched, the box begins at a quarter of the width"
    edges = np.flatnonzero(covered[32, :, 0])
    assert abs(int(edges[0]) - 8) <= 1, "16 of 96 pixels are cut off on each side"


def test_a_units_own_picture_is_fitted_as_the_unit_says(control_desk: Desk) -> None:
    wide = drawing((96, 64))
    maps = [controlled(control_desk, image=wide, resize_mode=mode).pixels[1] for mode in (0, 1, 2)]
    lefts = [int(np.flatnonzero(one[32, :, 0])[0]) for one in maps]
    assert abs(lefts[0] - 16) <= 1
    assert abs(lefts[1] - 8) <= 1
    assert abs(lefts[2] - 16) <= 1
    assert not np.array_equal(maps[0], maps[2])


def test_several_init_images_are_followed_each_by_its_picture(control_desk: Desk) -> None:
    images = [drawing(), drawing(shift=10)]
    both = control_desk.img2img(images, batch_size=2, **units(unit(**LENT)))
    assert len(both.images) == 4
    for i, image in enumerate(images):
        alone = control_desk.img2img(image, seed=5 + i, **units(unit(**LENT)))
        assert abs(both.pixels[i].astype(int) - alone.pixels[0]).max() <= 1
        assert np.array_equal(both.pixels[2 + i], alone.pixels[1])


def test_only_masked_shows_the_unit_what_is_rendered(control_desk: Desk) -> None:
    masked = {"mask": box_mask((96, 96)), "inpaint_full_res": True, "mask_blur": 0}
    picture = drawing((96, 96))
    cut = control_desk.img2img(picture, **masked, **units(unit(**LENT))).pixels[1]
    assert not cut.any(), "inside of the mask there is no edge"
    whole = control_desk.img2img(
        picture, **masked, **units(unit(image=picture, inpaint_crop_input_image=False))
    )
    assert whole.pixels[1].any()
    own = control_desk.img2img(picture, **masked, **units(unit(image=picture)))
    assert np.array_equal(own.pixels[1], cut)


@pytest.mark.parametrize("module", ["inpaint", "inpaint_only"])
def test_inpaint_hides_what_is_masked(control_desk: Desk, module: str) -> None:
    fields = {"module": module, "model": INPAINT, "mask": box_mask()}
    answer = controlled(control_desk, **fields)
    shown = np.asarray(answer.images[1].convert("RGB"))
    hidden = np.asarray(box_mask()) == 255
    original = np.asarray(drawing())
    assert np.array_equal(shown[~hidden], original[~hidden])
    other = controlled(control_desk, **fields | {"mask": Image.new("L", (64, 64), 255)})
    assert not equal(answer, other)


def test_inpaint_only_keeps_what_is_not_masked(control_desk: Desk) -> None:
    fields = {"module": "inpaint_only", "model": INPAINT, "mask": box_mask()}
    sharp = {"override_settings": {"control_net_inpaint_blur_sigma": 0}}
    kept = controlled(control_desk, sharp, **fields).pixels[0]
    hidden = np.asarray(box_mask()) == 255
    original = np.asarray(drawing())
    assert np.array_equal(kept[~hidden], original[~hidden])
    assert not np.array_equal(kept[hidden], original[hidden])
    soft = controlled(control_desk, **fields).pixels[0]
    assert np.array_equal(soft[hidden], kept[hidden])
    assert np.array_equal(soft[0, 0], original[0, 0])
    everywhere = controlled(control_desk, **fields | {"module": "inpaint"}).pixels[0]
    assert not np.array_equal(everywhere[~hidden], original[~hidden])


def test_the_mask_of_inpaint_is_the_units_before_img2imgs(control_desk: Desk) -> None:
    whole = {"inpaint_full_res": False, "mask_blur": 0}
    lent = unit(**LENT, module="inpaint", model=INPAINT)
    of_img2img = control_desk.img2img(drawing(), mask=box_mask(), **whole, **units(lent))
    assert np.array_equal(
        of_img2img.pixels[1],
        controlled(control_desk, module="inpaint", model=INPAINT, mask=box_mask()).pixels[1],
    )
    side = Image.new("L", (64, 64))
    side.paste(255, (0, 0, 20, 64))
    own = control_desk.img2img(
        drawing(), mask=box_mask(), **whole, **units(unit(module="inpaint", model=INPAINT, mask=side))
    )
    assert not np.array_equal(own.pixels[1], of_img2img.pixels[1])


def test_an_opaque_alpha_channel_is_no_mask_of_inpaint(control_desk: Desk) -> None:
    fields = {"module": "inpaint", "model": INPAINT, "image": drawing().convert("RGBA")}
    with pytest.raises(ContractError, match="opaque everywhere") as refused:
        controlled(control_desk, **fields)
    assert refused.value.field == "alwayson_scripts.controlnet.args[0].mask"
    whole = {"mask": box_mask(), "inpaint_full_res": False, "mask_blur": 0}
    one, other = (
        control_desk.img2img(drawing(), **whole, **units(unit(**fields | {"image": image})))
        for image in (drawing(), drawing().convert("RGBA"))
    )
    assert np.array_equal(one.pixels[1], other.pixels[1])
    fields["image"].putalpha(box_mask())
    drawn = controlled(control_desk, **fields)
    assert np.array_equal(drawn.pixels[1], one.pixels[1])


def test_outpainting_needs_no_mask(control_desk: Desk) -> None:
    answer = controlled(
        control_desk,
        {"width": 128},
        module="inpaint_only",
        model=INPAINT,
        resize_mode="Resize and Fill",
    )
    assert sizes(answer) == [(128, 64), (128, 64)]
    middle = slice(40, 88)
    assert np.array_equal(answer.pixels[1][:, middle], np.asarray(drawing())[:, 8:56])


def test_a_drawing_on_a_picture_is_followed_instead_of_it(control_desk: Desk) -> None:
    drawn = controlled(control_desk, mask=box_mask(), module="none")
    assert np.array_equal(drawn.pixels[1], np.dstack([np.asarray(box_mask())] * 3))
    blank = controlled(control_desk, mask=Image.new("L", (64, 64)))
    assert equal(blank, controlled(control_desk))
