"""From a picture and its mask to what is rendered, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from easel_worker.imaging import masks
from easel_worker.imaging.fill import fill
from easel_worker.imaging.inpainting import MaskedContent, MaskFields, prepare
from easel_worker.imaging.overlay import mask_picture, masked_result, paste_region
from easel_worker.imaging.regions import Region, masked_region, to_aspect
from easel_worker.imaging.resize import ResizeMode, Size

from .conftest import Paint

SIDES = st.integers(1, 90)


def boxed(size: Size, *box: int, level: int = 255) -> Image.Image:
    """A mask that is 0 but in `box`."""
    mask = Image.new("L", size, 0)
    mask.paste(level, box)  # type: ignore[arg-type] # a box is four numbers
    return mask


def noise(size: Size, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


# ---- regions


def test_a_region_is_the_padded_box_in_the_jobs_aspect_ratio() -> None:
    mask = boxed((100, 100), 40, 45, 60, 55)
    assert masked_region(mask, 0, (64, 64)) == Region(40, 40, 60, 60)
    assert masked_region(mask, 5, (64, 64)) == Region(35, 35, 65, 65)
    assert masked_region(mask, 0, (128, 64)) == Region(40, 45, 60, 55)
    assert masked_region(mask, 0, (64, 128)) == Region(40, 30, 60, 70)


def test_a_region_at_the_edge_moves_inside() -> None:
    assert masked_region(boxed((100, 80), 90, 0, 100, 4), 0, (64, 64)) == Region(90, 0, 100, 10)
    assert masked_region(boxed((100, 80), 96, 30, 100, 50), 0, (64, 64)) == Region(80, 30, 100, 50)
    assert masked_region(boxed((100, 80), 0, 70, 30, 80), 4, (64, 64)) == Region(0, 46, 34, 80)


def test_a_picture_too_small_gives_up_the_aspect_ratio() -> None:
    assert masked_region(boxed((100, 20), 0, 0, 100, 20), 0, (64, 64)) == Region(0, 0, 100, 20)


def test_a_blank_mask_has_no_region() -> None:
    assert masked_region(Image.new("L", (8, 8)), 32, (64, 64)) is None


@settings(deadline=None)
@given(size=st.tuples(SIDES, SIDES), aspect=st.tuples(SIDES, SIDES), data=st.data())
def test_regions_hold_the_mask_and_stay_inside(size: Size, aspect: Size, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, size[0] - 1))
    top = data.draw(st.integers(0, size[1] - 1))
    box = Region(
        left, top, data.draw(st.integers(left + 1, size[0])), data.draw(st.integers(top + 1, size[1]))
    )
    grown = to_aspect(box, aspect, size)
    assert 0 <= grown.left <= box.left < box.right <= grown.right <= size[0]
    assert 0 <= grown.top <= box.top < box.bottom <= grown.bottom <= size[1]
    assert grown.width == box.width or grown.height == box.height
    if grown.size not in ((size[0], grown.height), (grown.width, size[1])):  # it had all the room it wanted
        assert abs(grown.width * aspect[1] - grown.height * aspect[0]) < max(aspect)


# ---- fill


def test_a_hole_gets_the_colours_around_it() -> None:
    picture = Image.new("RGB", (64, 64), (200, 40, 40))
    picture.paste((0, 0, 255), (20, 20, 44, 44))
    filled = np.asarray(fill(picture, boxed((64, 64), 20, 20, 44, 44))).astype(int)
    assert np.abs(filled - (200, 40, 40)).max() <= 4  # premultiplied colours have 8 bits


def test_what_is_kept_is_not_filled() -> None:
    picture = noise((48, 48))
    filled = fill(picture, boxed((48, 48), 10, 10, 20, 30))
    outside = masks.invert(boxed((48, 48), 10, 10, 20, 30))
    difference = ImageChops.difference(picture, filled)
    assert Image.composite(difference, Image.new("RGB", (48, 48)), outside).getbbox() is None
    assert difference.getbbox() == (10, 10, 20, 30)


def test_near_colours_win_over_far_ones() -> None:
    picture = Image.new("RGB", (96, 32), (255, 0, 0))
    picture.paste((0, 0, 255), (48, 0, 96, 32))
    filled = np.asarray(fill(picture, boxed((96, 32), 24, 0, 72, 32))).astype(int)
    assert filled[16, 26, 0] > 200 > 60 > filled[16, 26, 2]
    assert filled[16, 69, 2] > 200 > 60 > filled[16, 69, 0]


def test_filling_everything_is_black() -> None:
    picture = fill(noise((16, 16)), Image.new("L", (16, 16), 255))
    assert picture.getbbox() is None


# ---- the way there and back


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(SIDES, SIDES),
    job=st.tuples(st.integers(8, 80), st.integers(8, 80)),
    only_masked=st.booleans(),
    blur=st.integers(0, 6),
    padding=st.integers(0, 20),
    data=st.data(),
)
def test_outside_the_mask_the_picture_stays(
    size: Size, job: Size, only_masked: bool, blur: int, padding: int, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    mask = boxed(size, left, top, min(left + 9, size[0]), min(top + 5, size[1]))
    fields = MaskFields(blur_x=blur, blur_y=blur, only_masked=only_masked, padding=padding)
    inpainting = prepare(noise(size), mask, job, fields)
    assert inpainting is not None
    assert inpainting.init.size == inpainting.mask.size == job
    finished = inpainting.finish(Image.new("RGB", job, (255, 0, 255)))
    assert finished.size == (size if only_masked else job)
    untouched = inpainting.overlay_mask.point(lambda level: 255 * (level == 0))
    difference = ImageChops.difference(finished, inpainting.original)
    assert Image.composite(difference, Image.new("RGB", finished.size), untouched).getbbox() is None


def test_only_masked_renders_the_region_large_and_puts_it_back() -> None:
    picture = noise((100, 60))
    mask = boxed((100, 60), 10, 20, 26, 36)
    fields = MaskFields(0, 0, padding=4, content=MaskedContent.ORIGINAL)
    inpainting = prepare(picture, mask, (48, 48), fields)
    assert inpainting is not None
    assert inpainting.region == Region(6, 16, 30, 40)
    expected = picture.crop((6, 16, 30, 40)).resize((48, 48), Image.Resampling.LANCZOS)
    assert inpainting.init.tobytes() == expected.tobytes()
    finished = np.asarray(inpainting.finish(Image.new("RGB", (48, 48), (1, 2, 3))))
    assert (finished[20:36, 10:26] == (1, 2, 3)).all()
    assert inpainting.place(Image.new("RGB", (48, 48))).size == (100, 60)


def test_a_region_of_the_jobs_size_goes_back_without_resampling() -> None:
    picture = noise((100, 100))
    mask = boxed((100, 100), 30, 30, 46, 46)
    fields = MaskFields(0, 0, content=MaskedContent.ORIGINAL)
    inpainting = prepare(picture, mask, (16, 16), fields)
    assert inpainting is not None
    assert inpainting.finish(inpainting.init).tobytes() == picture.tobytes()


def test_a_region_without_the_jobs_aspect_ratio_is_filled_up_and_cut_again() -> None:
    picture = noise((40, 20))
    fields = MaskFields(0, 0, content=MaskedContent.ORIGINAL)
    inpainting = prepare(picture, boxed((40, 20), 0, 0, 40, 20), (40, 40), fields)
    assert inpainting is not None
    assert inpainting.init.crop((0, 10, 40, 30)).tobytes() == picture.tobytes()
    assert inpainting.finish(inpainting.init).tobytes() == picture.tobytes()


def test_the_whole_pictures_composite_shows_all_of_the_repainted_half() -> None:
    mask = boxed((64, 64), 0, 0, 32, 64)
    inpainting = prepare(noise((64, 64)), mask, (64, 64), MaskFields(4, 4, only_masked=False))
    assert inpainting is not None
    finished = np.asarray(inpainting.finish(Image.new("RGB", (64, 64), (9, 9, 9))))
    assert (finished[:, :31] == 9).all()
    assert (finished[:, 45:] == np.asarray(inpainting.original)[:, 45:]).all()


@pytest.mark.parametrize("only_masked", [True, False])
def test_a_blank_mask_is_plain_img2img(only_masked: bool) -> None:
    assert prepare(noise((32, 32)), Image.new("L", (32, 32)), (32, 32), MaskFields()) is None
    white = Image.new("L", (32, 32), 255)
    fields = MaskFields(inverted=True, only_masked=only_masked)
    assert prepare(noise((32, 32)), white, (32, 32), fields) is None


@pytest.mark.parametrize("place", [(0, 0), (31, 0), (0, 47), (31, 47), (16, 20)])
def test_a_mask_of_one_pixel(place: tuple[int, int]) -> None:
    picture = noise((32, 48))
    mask = Image.new("L", (32, 48))
    mask.putpixel(place, 255)
    inpainting = prepare(picture, mask, (64, 64), MaskFields(0, 0, content=MaskedContent.ORIGINAL))
    assert inpainting is not None
    assert inpainting.region == Region(*place, place[0] + 1, place[1] + 1)
    finished = inpainting.finish(Image.new("RGB", (64, 64), (255, 0, 255)))
    expected = picture.copy()
    expected.putpixel(place, (255, 0, 255))
    assert finished.tobytes() == expected.tobytes()


def test_inversion_repaints_the_rest() -> None:
    mask = boxed((32, 32), 0, 0, 16, 32)
    fields = MaskFields(0, 0, inverted=True, only_masked=False)
    inpainting = prepare(noise((32, 32)), mask, (32, 32), fields)
    assert inpainting is not None
    assert inpainting.latent_mask((4, 4)).tolist() == [[0, 0, 1, 1]] * 4


def test_a_mask_of_another_size_is_stretched_to_the_picture() -> None:
    inpainting = prepare(noise((64, 32)), boxed((32, 32), 0, 0, 16, 32), (64, 32), MaskFields(0, 0))
    assert inpainting is not None
    assert inpainting.overlay_mask.size == (64, 32)
    columns = np.asarray(inpainting.overlay_mask)[0]
    assert (columns[:31] == 255).all()
    assert (columns[33:] == 0).all()


def test_masked_content_original_keeps_the_picture_and_fill_does_not() -> None:
    picture, mask = noise((32, 32)), boxed((32, 32), 8, 8, 24, 24)
    kept = prepare(
        picture, mask, (32, 32), MaskFields(0, 0, only_masked=False, content=MaskedContent.ORIGINAL)
    )
    assert kept is not None
    assert kept.init.tobytes() == picture.tobytes()
    for content in (MaskedContent.FILL, MaskedContent.LATENT_NOISE, MaskedContent.LATENT_NOTHING):
        filled = prepare(picture, mask, (32, 32), MaskFields(0, 0, only_masked=False, content=content))
        assert filled is not None
        assert filled.init.tobytes() == fill(picture, mask).tobytes()


def test_a_latent_mask_of_its_own_is_not_softened() -> None:
    latent = boxed((32, 32), 16, 0, 32, 32)
    fields = MaskFields(3, 3, only_masked=False)
    inpainting = prepare(noise((32, 32)), boxed((32, 32), 0, 0, 8, 32), (32, 32), fields, latent=latent)
    assert inpainting is not None
    assert inpainting.latent_mask((4, 4)).tolist() == [[0, 0, 1, 1]] * 4


def test_resizing_the_latent_leaves_the_init_picture_alone() -> None:
    picture = noise((24, 40))
    inpainting = prepare(
        picture,
        boxed((24, 40), 0, 0, 12, 40),
        (64, 64),
        MaskFields(0, 0, only_masked=False, content=MaskedContent.ORIGINAL),
        resize_mode=ResizeMode.STRETCH_LATENT,
    )
    assert inpainting is not None
    assert inpainting.init is picture
    assert inpainting.mask.size == inpainting.original.size == inpainting.overlay_mask.size == (64, 64)


@pytest.mark.parametrize("size", [(65, 43), (1, 1), (7, 200)])
def test_sizes_that_are_no_multiple_of_8(size: Size, paint: Paint) -> None:
    inpainting = prepare(paint(*size), Image.new("L", size, 255), (61, 37), MaskFields(only_masked=False))
    assert inpainting is not None
    assert inpainting.latent_mask((61 // 8, 37 // 8)).shape == (4, 7)
    assert inpainting.finish(Image.new("RGB", (61, 37))).size == (61, 37)


def test_another_overlay_shows_inside_the_region_only() -> None:
    picture = noise((100, 60))
    inpainting = prepare(picture, boxed((100, 60), 10, 20, 26, 36), (32, 32), MaskFields(0, 0, padding=4))
    assert inpainting is not None
    magenta = Image.new("RGB", (32, 32), (255, 0, 255))
    shown = inpainting.finish(magenta, inpainting.place_mask(Image.new("L", (32, 32), 255)))
    assert inpainting.region == Region(6, 16, 30, 40)
    expected = picture.copy()
    expected.paste((255, 0, 255), inpainting.region)
    assert shown.tobytes() == expected.tobytes()
    hidden = inpainting.finish(magenta, inpainting.place_mask(Image.new("L", (32, 32))))
    assert hidden.tobytes() == picture.tobytes()


def test_a_region_larger_than_the_job_goes_back_through_the_upscaler() -> None:
    asked: list[Size] = []

    def upscale(image: Image.Image, size: Size) -> Image.Image:
        asked.append(size)
        return image.resize(size, Image.Resampling.NEAREST)

    inpainting = prepare(
        noise((64, 64)), boxed((64, 64), 0, 0, 40, 40), (16, 16), MaskFields(0, 0), upscaler=upscale
    )
    assert inpainting is not None
    assert asked == []  # the region is reduced for the job
    result = noise((16, 16), seed=1)
    finished = inpainting.finish(result)
    assert asked == [(40, 40)]
    enlarged = result.resize((40, 40), Image.Resampling.NEAREST)
    assert finished.crop((0, 0, 40, 40)).tobytes() == enlarged.tobytes()


# ---- extra pictures


def test_pasting_a_region_leaves_the_canvas_as_it_was() -> None:
    canvas = noise((20, 20))
    before = canvas.tobytes()
    pasted = paste_region(canvas, Image.new("RGB", (8, 8), (1, 1, 1)), Region(2, 3, 6, 7))
    assert canvas.tobytes() == before
    assert ImageChops.difference(pasted, canvas).getbbox() == (2, 3, 6, 7)


def test_the_masks_own_pictures() -> None:
    mask = boxed((4, 1), 1, 0, 2, 1, level=100)
    assert np.asarray(mask_picture(mask)).tolist() == [[[0] * 3, [100] * 3, [0] * 3, [0] * 3]]
    shown = masked_result(Image.new("RGB", (4, 1), (5, 6, 7)), mask)
    assert np.asarray(shown).tolist() == [[[0] * 4, [5, 6, 7, 100], [0] * 4, [0] * 4]]
