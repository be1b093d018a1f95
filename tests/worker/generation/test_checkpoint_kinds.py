"""Requests that name single files, SDXL with its refiner, and inpainting models."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import easel_shapes
from easel_shapes.single_file import write_ldm_file
from easel_worker.diffusion import schedules
from easel_worker.diffusion.errors import CheckpointError

from ..desk import Desk
from ..diffusion.small_models import KINDS, write_file, write_folder

SHAPES = f"{easel_shapes.NAME}.safetensors"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The shipped model in both forms, and small random ones of other families."""
    data_dir = tmp_path_factory.mktemp("kinds")
    folder = data_dir / "models" / "Stable-diffusion"
    shutil.copytree(easel_shapes.model_folder(), folder / easel_shapes.NAME)
    write_ldm_file(easel_shapes.model_folder(), folder / SHAPES)
    for name in ("sdxl", "sdxl-refiner", "sd1-inpainting", "sd2"):
        write_file(
            KINDS[name], write_folder(KINDS[name], folder / name), folder / "files" / f"{name}.safetensors"
        )
    return Desk(data_dir, default_checkpoint=easel_shapes.NAME, checkpoint_cache=8)


def drawn(desk: Desk, checkpoint: str, **fields: Any) -> Any:
    options = {"sd_model_checkpoint": checkpoint, **fields.pop("override_settings", {})}
    return desk.image(override_settings=options, **fields)


def test_the_shipped_file_draws_what_the_folder_draws(kinds: Desk) -> None:
    np.testing.assert_array_equal(drawn(kinds, SHAPES), drawn(kinds, easel_shapes.NAME))


def test_a_file_is_named_by_its_hash_and_told_by_its_stem(kinds: Desk) -> None:
    path = kinds.models / "Stable-diffusion" / "files" / "sdxl.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    info = kinds.txt2img(override_settings={"sd_model_checkpoint": digest[:10]}).info
    assert (info["sd_model_name"], info["sd_model_hash"]) == ("sdxl", digest[:10])
    assert f"Model hash: {digest[:10]}, Model: sdxl," in info["infotexts"][0]


@pytest.mark.parametrize("name", ["sdxl", "sdxl-refiner", "sd2", "sd1-inpainting"])
def test_every_family_draws_and_its_file_draws_what_its_folder_draws(kinds: Desk, name: str) -> None:
    picture = drawn(kinds, f"files/{name}", enable_hr=True, hr_scale=1.5, denoising_strength=0.5)
    assert picture.shape == (96, 96, 3)
    assert picture.std() > 0
    more = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5}
    np.testing.assert_array_equal(picture, drawn(kinds, name, **more))
    assert (picture != drawn(kinds, name, **more, seed=8)).any()


@pytest.fixture
def told(kinds: Desk, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The numbers that the UNets of SDXL and its refiner are told, call by call; first rows and last."""
    seen: list[list[float]] = []
    for name in ("files/sdxl", "files/sdxl-refiner"):
        drawn(kinds, name, steps=1)
        unet = kinds.handler._models.checkpoint(kinds.handler._library.resolve(name)).unet
        forward = unet.forward

        def listen(*args: Any, forward: Any = forward, **more: Any) -> Any:
            ids = more["added_cond_kwargs"]["time_ids"]
            seen.append([ids[0].tolist(), ids[-1].tolist()])
            return forward(*args, **more)

        monkeypatch.setattr(unet, "forward", listen)
    return seen


def test_sdxl_is_told_the_size_and_the_refiner_a_score(kinds: Desk, told: Any) -> None:
    options = {"sdxl_crop_top": 16, "sdxl_crop_left": 8, "sdxl_refiner_high_aesthetic_score": 7.5}
    drawn(
        kinds,
        "files/sdxl",
        override_settings={**options, "pad_cond_uncond": True},
        width=128,
        refiner_checkpoint="files/sdxl-refiner",
        refiner_switch_at=0.5,
    )
    base = [64.0, 128.0, 16.0, 8.0, 64.0, 128.0]
    refined = [[64.0, 128.0, 16.0, 8.0, 7.5], [64.0, 128.0, 16.0, 8.0, 2.5]]
    assert told[0] == [base, base]
    assert told[-1] == refined
    assert {len(first) for first, _ in told} == {5, 6}


def test_the_hires_pass_is_told_its_own_size(kinds: Desk, told: Any) -> None:
    drawn(kinds, "files/sdxl", enable_hr=True, hr_scale=2, denoising_strength=0.5)
    assert told[0][0] == [64.0, 64.0, 0.0, 0.0, 64.0, 64.0]
    assert told[-1][0] == [128.0, 128.0, 0.0, 0.0, 128.0, 128.0]


def test_sdxl_has_a_schedule_of_its_own(kinds: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Align Your Steps was fitted to each."""
    asked: list[bool] = []
    build = schedules.ScheduleOptions.__init__

    def listen(self: Any, *args: Any, **more: Any) -> None:
        build(self, *args, **more)
        asked.append(self.sdxl)

    monkeypatch.setattr(schedules.ScheduleOptions, "__init__", listen)
    drawn(kinds, "files/sdxl", scheduler="align_your_steps")
    assert asked
    assert asked[-1] is True
    drawn(kinds, "files/sd2", scheduler="align_your_steps")
    assert asked[-1] is False


def test_a_wrong_file_says_what_it_is(kinds: Desk, tmp_path: Path) -> None:
    path = kinds.models / "Stable-diffusion" / "style.safetensors"
    save_file({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.zeros(4, 4)}, path)
    try:
        with pytest.raises(CheckpointError, match=r"style\.safetensors: this is a LoRA.*models/Lora"):
            drawn(kinds, "style")
    finally:
        path.unlink()
