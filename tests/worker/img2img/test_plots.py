"""The x/y/z plot, through the handler."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_contract.infotext import parse
from easel_worker.upscaling.errors import WeightsError

from ..desk import Desk
from ..faces.test_faces import save_detector
from ..upscaling.networks import save_rrdb
from .scripting import QUICK, refuse, run, told, xyz

ATTENTIVE = {"override_settings": {"sd_model_checkpoint": "easel-shapes"}}
"""A checkpoint that attends at the latent's full size."""


def test_a_plot_shows_every_combination(desk: Desk) -> None:
    args = xyz(x="Steps", xs="1,2", y="CFG Scale", ys="1, 5.5, 9", lone=True)
    answer = run(desk, "x/y/z plot", args)
    assert (len(answer.images), answer.info["index_of_first_image"]) == (7, 1)
    assert told(answer, "Steps")[1:] == ["1", "2"] * 3
    assert told(answer, "CFG scale")[1:] == ["1", "1", "5.5", "5.5", "9", "9"]
    assert set(answer.info["all_seeds"]) == {5}
    grid = parse(answer.info["infotexts"][0])
    assert (grid["Script"], grid["X Type"], grid["X Values"]) == ("X/Y/Z plot", "Steps", "1, 2")
    one = desk.txt2img(**{**QUICK, "cfg_scale": 5.5}).pixels[0]
    np.testing.assert_array_equal(answer.pixels[4], one)
    alone = run(desk, "x/y/z plot", xyz(x="Steps", xs="1,2"))
    assert len(alone.images) == 3
    assert len(run(desk, "x/y/z plot", xyz(x="Steps", xs="1,2", lone=False)).images) == 1


def test_a_plot_with_depth_has_a_grid_of_grids(desk: Desk) -> None:
    args = xyz(x="Steps", xs="1-2", z="Seed", zs="1,-1", lone=False, subs=True)
    answer = run(desk, "x/y/z plot", args)
    assert (len(answer.images), answer.info["index_of_first_image"]) == (3, 3)
    assert answer.images[0].width > answer.images[1].width
    seeds = answer.info["all_seeds"]
    assert seeds[:2] == [1, 1]
    assert seeds[2] == seeds[3] >= 0, "a random seed is drawn once for all cells that have it"


@pytest.mark.parametrize(
    ("changes", "seeds"),
    [
        ({"vary_x": True}, [5, 6, 5, 6]),
        ({"vary_y": True}, [5, 5, 6, 6]),
        ({"vary_x": True, "vary_y": True}, [5, 6, 7, 8]),
    ],
)
def test_cells_may_have_seeds_of_their_own(changes: dict[str, bool], seeds: list[int], desk: Desk) -> None:
    answer = run(desk, "x/y/z plot", xyz(x="Steps", xs="1,2", y="Steps", ys="1,2", **changes))
    assert answer.info["all_seeds"] == seeds


@pytest.mark.parametrize(
    ("axis", "values", "fields"),
    [
        ("Seed", "5, 6", {}),
        ("Var. seed", "5, 6", {"subseed_strength": 0.5}),
        ("Var. strength", "0, 0.5", {"subseed": 9}),
        ("Steps", "1, 3", {}),
        ("CFG Scale", "1, 9", {}),
        ("Prompt S/R", "cat, dog", {}),
        ("Prompt order", "small, cat", {}),
        ("Sampler", "Euler, Heun", {}),
        ("Checkpoint name", "tiny-random, easel-shapes", {}),
        ("Negative Guidance minimum sigma", "0, 15", {}),
        ("Sigma Churn", "0, 10", {}),
        ("Sigma noise", "0.5, 1", {"sampler_name": "Euler a"}),
        ("Schedule type", "Uniform, Exponential", {}),
        ("Schedule max sigma", "5, 10", {"scheduler": "Karras"}),
        ("Schedule min sigma", "0.1, 1", {"scheduler": "Karras"}),
        ("Schedule rho", "3, 9", {"scheduler": "Karras"}),
        ("Eta", "0, 1", {"sampler_name": "Euler a"}),
        ("Clip skip", "1, 2", {}),
        ("Denoising", "0.2, 0.9", {}),
        ("Initial noise multiplier", "0.5, 1", {}),
        ("Extra noise", "0, 1", {}),
        ("UniPC Order", "1, 3", {"sampler_name": "UniPC"}),
        ("Always discard next-to-last sigma", "true, false", {}),
        ("RNG source", "NV, CPU", {}),
        ("Refiner checkpoint", "None, easel-shapes", {"refiner_switch_at": 0.3}),
        ("Size", "64x64, 72x64", {}),
    ],
)
def test_an_axis_changes_the_picture(
    axis: str, values: str, fields: dict[str, Any], desk: Desk, init: Image.Image
) -> None:
    fields = {"steps": 4, "denoising_strength": 0.9, "prompt": "a small black cat", **fields}
    first, second = run(desk, "x/y/z plot", xyz(x=axis, xs=values), init, **fields).pixels[1:]
    assert first.shape != second.shape or np.abs(first.astype(int) - second).max() > 2


@pytest.mark.parametrize(
    ("axis", "values", "fields"),
    [
        ("Hires steps", "1, 3", {}),
        ("Hires sampler", "Euler, Euler a", {}),
        ("Hires upscaler", "Latent (nearest), Lanczos", {}),
        ("Sampler", "Euler, Heun", {}),
        ("Denoising", "0.3, 0.9", {}),
        ("Styles", "blue, green", {}),
        ("SGM noise multiplier", "true, false", {}),
        ("Refiner switch at", "0.1, 0.9", {"refiner_checkpoint": "easel-shapes"}),
        ("Beta schedule alpha", "0.3, 0.9", {"scheduler": "Beta"}),
        ("Beta schedule beta", "0.3, 0.9", {"scheduler": "Beta"}),
        ("Sigma min", "0, 100", {"s_churn": 10}),
        ("Sigma max", "0.1, 100", {"s_churn": 10}),
        ("Token merging ratio", "0, 0.9", ATTENTIVE),
        ("Token merging ratio high-res", "0.1, 0.9", ATTENTIVE),
    ],
)
def test_an_axis_changes_the_picture_of_txt2img(
    axis: str, values: str, fields: dict[str, Any], desk: Desk, data_dir: Path
) -> None:
    styles = data_dir / "styles.csv"
    styles.write_text('name,prompt,negative_prompt\nblue,"{prompt}, deep blue",\ngreen,grass green,\n')
    fields = {"steps": 4, "prompt": "a small black cat", "enable_hr": True, "hr_scale": 1.25, **fields}
    try:
        first, second = run(desk, "x/y/z plot", xyz(x=axis, xs=values), **fields).pixels[1:]
    finally:
        styles.unlink()
    assert (first != second).any()


@pytest.mark.usefixtures("further_channels")
@pytest.mark.parametrize(
    ("axis", "values", "name"),
    [("Image CFG Scale", "1, 3", "tiny-pix2pix"), ("Cond. Image Mask Weight", "0, 1", "tiny-inpainting")],
)
def test_an_axis_for_a_checkpoint_that_sees_the_picture(
    axis: str, values: str, name: str, desk: Desk, init: Image.Image, mask: Image.Image
) -> None:
    fields = {"steps": 4, "denoising_strength": 0.9, "override_settings": {"sd_model_checkpoint": name}}
    if name == "tiny-inpainting":
        fields["mask"] = mask
    first, second = run(desk, "x/y/z plot", xyz(x=axis, xs=values), init, **fields).pixels[1:]
    assert np.abs(first.astype(int) - second).max() > 2


@pytest.fixture
def face_files(desk: Desk, data_dir: Path) -> Iterator[Path]:
    """Where a restorer's files are looked for; nothing of them stays."""
    folder = data_dir / "models" / "GFPGAN"
    yield folder
    desk.handler._networks.faces.unload()
    shutil.rmtree(folder)


def test_faces_are_restored_in_the_cells_that_say_so(desk: Desk, init: Image.Image, face_files: Path) -> None:
    save_rrdb(face_files / "GFPGANv1.4.safetensors")
    save_detector(face_files / "detection_Resnet50_Final.safetensors", seen=False)
    plot = xyz(x="Face restore", xs="None, GFPGAN")
    answer = run(desk, "x/y/z plot", plot, init)
    assert ["Face restoration: GFPGAN" in text for text in answer.info["infotexts"][1:]] == [False, True]
    np.testing.assert_array_equal(answer.pixels[1], answer.pixels[2], err_msg="nobody is in it")

    desk.handler._networks.faces.unload()
    save_detector(face_files / "detection_Resnet50_Final.safetensors")
    with pytest.raises(WeightsError, match=r"GFPGANv1\.4\.safetensors is a ESRGAN and restores no faces"):
        run(desk, "x/y/z plot", plot, init)
    run(desk, "x/y/z plot", xyz(x="Face restore", xs="None"), init)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"x": 99}, "script_args.x_type", "there are: 0 Nothing, 1 Seed"),
        ({"y": "FP8 mode", "ys": "Enable"}, "script_args.y_type", "8 bits"),
        ({"x": "Steps"}, "script_args.x_values", "no values"),
        ({"x": "Steps", "xs": "1.5"}, "script_args.x_values", "'1.5' is not a whole number"),
        ({"x": "CFG Scale", "xs": "nan"}, "script_args.x_values", "'nan' is not a number"),
        ({"x": "Steps", "xs": "5-1"}, "script_args.x_values", "has no end"),
        ({"x": "Steps", "xs": "1-100000"}, "script_args.x_values", "more than"),
        ({"x": "Steps", "xs": "0"}, "script_args", "steps"),
        ({"x": "Size", "xs": "wide"}, "script_args", "WIDTHxHEIGHT"),
        ({"x": "Size", "xs": "64000x8"}, "width", "at most"),
        ({"x": "VAE", "xs": "other.pt"}, "sd_vae", "other.pt"),
        ({"x": "Prompt S/R", "xs": "dog, cat"}, "script_args", "in neither prompt"),
        ({"x": "Seed", "xs": "1-50", "y": "Steps", "ys": "1-10"}, "script_args", "500 pictures"),
    ],
)  # fmt: skip
def test_a_wrong_axis_is_refused(
    changes: dict[str, Any], field: str, message: str, desk: Desk, init: Image.Image
) -> None:
    error = refuse(desk, "x/y/z plot", xyz(**changes), init)
    assert error.field == field
    assert message in error.message
