"""Parts of the companions' recipe: scenes and captions, low-rank differences, and the files they end in."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from easel_shapes import model_folder
from easel_shapes.recipe import low_rank, measure
from easel_shapes.recipe.base import load_base
from easel_shapes.recipe.companion_files import (
    merge_control_lora,
    split_kohya,
    write_control_lora,
    write_kohya,
)
from easel_shapes.recipe.control_data import control_caption
from easel_shapes.recipe.drawing import Item, Scene, draw_scene
from easel_shapes.recipe.edges import canny, in_white, outline_for_training
from easel_shapes.recipe.freehand import control_scene, freehand_scene
from easel_shapes.recipe.judge_companions import closest_shape
from easel_shapes.recipe.train_control import HINT_CHANNELS, ControlTrainee
from easel_shapes.recipe.train_lora import LORAS, LoraTrainee
from easel_shapes.recipe.words import NEW_SHAPES, POSITIONS, SHAPES

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [(128, 128), (128, 192)])
def test_freehand_shapes_lie_apart_and_inside(seed: int, size: tuple[int, int]) -> None:
    scene = freehand_scene(Random(seed), *size)
    mask = draw_scene(in_white(scene))[..., 0] > 127
    assert not mask[[0, -1]].any()
    assert not mask[:, [0, -1]].any()
    if all(item.fill != "striped" for item in scene.items):  # stripes of white are gray
        assert len(measure.connected(mask)) == len(scene.items)


def test_captions_of_outlines_rarely_tell_what_is_there() -> None:
    rng = Random(3)
    scene = Scene(128, 128, "blue", (Item("star", "red", 0.3, 0.3, 0.2, position="top left"),))
    captions = [control_caption(scene, rng).lower() for _ in range(400)]
    share = {word: sum(word in text for text in captions) / 400 for word in ("star", "red", "top left")}
    assert 0.1 < share["star"] < 0.3
    assert share["red"] > 0.7
    assert share["top left"] < 0.35
    assert 0.1 < captions.count("") / 400 < 0.2
    assert any(shape in text for text in captions for shape in SHAPES if shape != "star")


def test_a_freehand_shape_is_never_called_by_its_base_shape() -> None:
    rng = Random(4)
    outline = ((-1.0, -1.0), (1.0, -1.0), (0.0, 1.0))
    scene = Scene(128, 128, "blue", (Item("star", "red", 0.5, 0.5, 0.3, outline=outline),))
    assert not any("star" in control_caption(scene, rng).lower() for _ in range(200))


def test_colours_without_an_edge_get_the_outline_of_the_shape() -> None:
    rng = Random(0)
    scene = Scene(128, 128, "gray", (Item("circle", "gray", 0.5, 0.5, 0.3),))
    assert not canny(draw_scene(scene)).any()
    assert outline_for_training(scene, draw_scene(scene), rng).any()


def test_scenes_for_outlines_come_from_both_kinds() -> None:
    rng = Random(1)
    scenes = [control_scene(rng, 128, 128) for _ in range(60)]
    named = [scene for scene in scenes if all(item.size or item.position for item in scene.items)]
    drawn = [scene for scene in scenes if any(item.outline for item in scene.items)]
    assert named
    assert drawn
    assert all(item.position in ("", *POSITIONS) for scene in scenes for item in scene.items)


@pytest.mark.parametrize("shape", [*SHAPES, *NEW_SHAPES])
def test_the_closest_shape_to_a_drawing_is_its_own(shape: str) -> None:
    scene = Scene(128, 128, "black", (Item(shape, "white", 0.45, 0.55, 0.3),))
    assert closest_shape(np.asarray(draw_scene(scene)[..., 0] > 127)) == shape


def test_differences_begin_at_nothing_and_can_be_switched_off() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Conv2d(16, 16, 3))
    rows, picture = torch.randn(2, 16), torch.randn(1, 16, 5, 5)
    before = network[0](rows), network[1](picture)
    added = low_rank.attach(network, lambda name: True, 2)
    assert set(added) == {"0", "1"}
    assert torch.equal(network[0](rows), before[0])
    assert torch.equal(network[1](picture), before[1])
    for difference in added.values():
        torch.nn.init.normal_(difference.up)
    assert not torch.allclose(network[1](picture), before[1])
    assert {name for name, tensor in network.named_parameters() if tensor.requires_grad} == {
        f"{name}.parametrizations.weight.0.{part}" for name in "01" for part in ("down", "up")
    }
    low_rank.switch(added, 0.0)
    assert torch.equal(network[0](rows), before[0])


def randomised(differences: dict[str, low_rank.LowRank]) -> None:
    torch.manual_seed(1)
    for difference in differences.values():
        torch.nn.init.normal_(difference.up, std=0.02)


@torch.no_grad()
def test_the_control_lora_file_holds_the_network(tmp_path: Path) -> None:
    base = load_base(model_folder(), CPU)
    trainee = ControlTrainee(base, CPU)
    randomised(trainee.differences)
    for name, tensor in trainee.trained.items():
        if name.startswith(("controlnet_down_blocks.", "controlnet_mid_block.")):
            torch.nn.init.normal_(tensor, std=0.1)
    hint = (torch.rand(1, 3, 64, 64) > 0.9).float()
    trainee.start_hint_encoder(hint)
    asked: dict[str, Any] = {"controlnet_cond": hint, "return_dict": False}
    noisy, text = torch.randn(1, 4, 8, 8), base.read(["a red circle"])
    down, middle = trainee.network(noisy, 500, text, **asked)

    write_control_lora(trainee, tmp_path / "edges.safetensors")
    plain = ControlNetModel.from_unet(
        load_base(model_folder(), CPU).unet, conditioning_embedding_out_channels=HINT_CHANNELS
    )
    plain.load_state_dict(merge_control_lora(tmp_path / "edges.safetensors", base.unet.state_dict()))
    read = plain(noisy, 500, text, **asked)
    for ours, theirs in zip((*down, middle), (*read[0], read[1]), strict=True):
        torch.testing.assert_close(theirs, ours, atol=0.01, rtol=0.01)  # half of the digits are stored


def test_the_lora_file_holds_the_differences(tmp_path: Path) -> None:
    base = load_base(model_folder(), CPU)
    trainee = LoraTrainee(LORAS["arrow"], base)
    randomised(trainee.differences)
    write_kohya(trainee, tmp_path / "arrow.safetensors", model_name="easel-shapes")
    read = split_kohya(tmp_path / "arrow.safetensors")
    assert len(read) == len(trainee.differences)
    for name, difference in trainee.differences.items():
        whole = difference.up @ difference.down.flatten(1)
        torch.testing.assert_close(read[name.replace(".", "_")], whole.detach(), atol=2e-3, rtol=2e-3)
