"""What the options want to be stored beside the pictures, and how they are put together."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from PIL import Image

from easel_contract.infotext import parse

from ..desk import Answer, Desk

ASKED = {
    "save_init_img": True,
    "save_mask": True,
    "save_mask_composite": True,
    "img2img_color_correction": True,
    "save_images_before_color_correction": True,
}


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two pictures, 0 to 255."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def stored(desk: Desk, kind: str, folder: str, **fields: Any) -> tuple[Answer, dict[str, Image.Image]]:
    """The answer, and what was stored for it below `folder` of the data directory, by the end of its name."""
    fields["override_settings"] = {**fields.get("override_settings", {}), "outdir_samples": folder}
    answer = getattr(desk, kind)(save_images=True, seed=5, **fields)
    files = sorted((desk.handler.settings.data_dir / folder).rglob("*.png"))
    return answer, {path.stem.removeprefix("00000-5"): Image.open(path) for path in files}


def test_img2img_keeps_what_it_began_with_its_masks_and_earlier_states(
    desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    fields = {"mask": mask, "inpaint_full_res": False, "override_settings": ASKED}
    answer, files = stored(desk, "img2img", "outputs/kept", init_images=[init], **fields)

    assert len(answer.images) == 1, "they are stored, not answered"
    names = ["", "-before-color-correction", "-init-image", "-mask", "-mask-composite"]
    assert sorted(files) == names
    np.testing.assert_array_equal(np.asarray(files["-init-image"]), np.asarray(init))
    np.testing.assert_array_equal(np.asarray(files[""]), answer.pixels[0])
    shown = np.asarray(files["-mask"].convert("L"))
    assert (shown[32, 32], shown[0, 0]) == (255, 0)
    assert files["-mask-composite"].mode == "RGBA"
    middle = (slice(24, 40), slice(24, 40))
    before = np.asarray(files["-before-color-correction"])
    assert difference(before[middle], answer.pixels[0][middle]) > 0.5


def test_the_init_image_is_told_by_its_hash_where_it_is_kept(desk: Desk, init: Image.Image) -> None:
    answer, _ = stored(
        desk, "img2img", "outputs/told", init_images=[init], override_settings={"save_init_img": True}
    )
    found = parse(answer.info["infotexts"][0])
    assert found["Init image hash"] == hashlib.md5(init.tobytes(), usedforsecurity=False).hexdigest()
    keys = list(found)
    assert keys.index("Denoising strength") < keys.index("Init image hash") < keys.index("RNG")
    assert "Init image hash" not in parse(desk.img2img(init).info["infotexts"][0])


def test_nothing_is_kept_that_no_option_asks_for(desk: Desk, init: Image.Image, mask: Image.Image) -> None:
    _, files = stored(desk, "img2img", "outputs/plain", init_images=[init], mask=mask)
    assert list(files) == [""]


def test_the_first_pass_is_kept_before_the_hires_pass(desk: Desk) -> None:
    options = {"save_images_before_highres_fix": True}
    fields = {"width": 64, "height": 64, "enable_hr": True, "hr_scale": 1.5, "override_settings": options}
    answer, files = stored(desk, "txt2img", "outputs/hires", **fields)
    assert {name: image.size for name, image in files.items()} == {
        "": (96, 96),
        "-before-highres-fix": (64, 64),
    }
    assert [image.size for image in answer.images] == [(96, 96)]


def test_without_overlay_the_whole_picture_is_the_models(
    desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    fields = {"mask": mask, "inpaint_full_res": False}
    over = desk.img2img(init, **fields).pixels[0]
    bare = desk.img2img(init, override_settings={"overlay_inpaint": False}, **fields).pixels[0]
    edge = (slice(0, 8), slice(0, 64))
    np.testing.assert_array_equal(over[edge], np.asarray(init)[edge])
    assert difference(bare[edge], np.asarray(init)[edge]) > 0.5


def test_empty_places_of_a_grid_have_the_options_colour(desk: Desk) -> None:
    options = {"grid_background_color": "#ff0080", "n_rows": 2}
    answer, _ = stored(
        desk, "txt2img", "outputs/grid", batch_size=3, width=64, height=64, override_settings=options
    )
    grid = answer.pixels[0]
    assert grid.shape == (128, 128, 3)
    assert (grid[64:, 64:] == (255, 0, 128)).all()
