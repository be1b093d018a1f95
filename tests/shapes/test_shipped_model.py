"""The shipped model obeys a prompt. How often it does, over more prompts and seeds, is in its model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_shapes import model_folder
from easel_shapes.recipe.evaluate import draw
from easel_shapes.recipe.survey import is_hollow, is_striped, size_of
from easel_shapes.recipe.words import SHAPES
from easel_shapes.single_file import write_ldm_file
from easel_worker.diffusion.libraries import AutoencoderKL, UNet2DConditionModel, load_file
from easel_worker.diffusion.text import ConditioningCache

from ..looking import look

Render = Callable[..., NDArray[np.uint8]]


def test_it_is_small_enough_for_git() -> None:
    assert sum(path.stat().st_size for path in model_folder().rglob("*") if path.is_file()) < 24_000_000


@pytest.mark.parametrize("seed", range(5))
def test_a_red_circle_on_a_blue_background(render: Render, seed: int) -> None:
    assert look(render("a red circle on a blue background", seed=seed)).words == "red circle on blue"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(render: Render, shape: str) -> None:
    assert look(render(f"a yellow {shape} on a black background", seed=0)).words == f"yellow {shape} on black"


@pytest.mark.parametrize("seed", range(3))
def test_each_of_two_shapes_has_its_own_colour(render: Render, seed: int) -> None:
    sight = look(render("a red square and a blue star on a white background", seed=seed))
    assert sight.words == "red square, blue star on white"


@pytest.mark.parametrize(("words", "count"), [("two green hearts", 2), ("three green hearts", 3)])
def test_counts(render: Render, words: str, count: int) -> None:
    sight = look(render(f"{words} on a white background", seed=1))
    assert [(thing.colour, thing.shape) for thing in sight.things] == [("green", "heart")] * count


@pytest.mark.parametrize("position", ["top left", "bottom right", "left", "bottom"])
def test_places(render: Render, position: str) -> None:
    thing = look(render(f"a purple circle, {position}, on yellow", seed=0)).main
    assert (thing.colour, thing.position) == ("purple", position)


@pytest.mark.parametrize(
    "prompt",
    [
        "RED STAR ON WHITE BACKGROUND",
        "red star, white background",
        "on a white background, a red star",
        "masterpiece, a drawing of a red star on a white background.",
    ],
)
def test_wordings_do_not_matter(render: Render, prompt: str) -> None:
    assert look(render(prompt, seed=2)).words == "red star on white"


@pytest.mark.parametrize(("width", "height"), [(96, 96), (256, 256), (128, 192), (192, 128)])
def test_the_scene_fills_the_frame_whatever_its_size(render: Render, width: int, height: int) -> None:
    picture = render("a blue circle on a yellow background", width=width, height=height)
    assert picture.shape == (height, width, 3)
    assert look(picture).words == "blue circle on yellow"


@pytest.mark.parametrize("size", ["small", "large"])
def test_sizes(render: Render, size: str) -> None:
    assert size_of(render(f"a {size} red circle on a white background", seed=1)) == size


def test_fills(render: Render) -> None:
    outlined, striped, plain = (
        render(f"{fill} blue square on a white background", seed=1)
        for fill in ("an outlined", "a striped", "a")
    )
    assert is_hollow(outlined, "blue")
    assert not is_hollow(plain, "blue")
    assert is_striped(striped)
    assert not is_striped(plain)


def test_an_empty_prompt_gives_a_picture(render: Render) -> None:
    """No noise and no mud: one of the known colours to the edge."""
    picture = render("", seed=0)
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]).astype(float)
    assert border.std(axis=0).max() < 12


def test_a_negative_prompt_excludes(render: Render) -> None:
    """More seeds, and the counts beside each other, are in the model card."""
    prompt = "a circle on a white background"
    colours = [look(render(prompt, seed=seed, negative_prompt="red circle")).main.colour for seed in range(4)]
    assert "red" not in colours


@pytest.fixture(scope="module")
def from_single_file(shapes_checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shipped model, read back from its LDM form."""
    path: Path = tmp_path_factory.mktemp("ldm") / "easel-shapes.safetensors"
    write_ldm_file(model_folder(), path)
    assert path.stat().st_size < 24_000_000
    parts = {
        folder: kind.from_single_file(
            str(path), config=str(model_folder()), subfolder=folder, local_files_only=True
        )
        .to(memory_format=torch.channels_last)
        .eval()
        for folder, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL))
    }
    prefix = "cond_stage_model.transformer.text_model."
    words = {
        n.removeprefix(prefix): t.float() for n, t in load_file(str(path)).items() if n.startswith(prefix)
    }
    text_encoder = type(shapes_checkpoint.text_encoder)(shapes_checkpoint.text_encoder.config)
    text_encoder.load_state_dict(words)
    # A cache of its own: prompts that the other form has encoded must be encoded again.
    fresh = {"text_encoder": text_encoder.eval(), "conditionings": ConditioningCache(), **parts}
    return dataclasses.replace(shapes_checkpoint, **fresh)


def test_both_forms_give_the_same_picture(shapes_checkpoint: Any, from_single_file: Any) -> None:
    with_folder, with_file = (
        draw(checkpoint, "a red circle on a blue background", seeds=(3,))
        for checkpoint in (shapes_checkpoint, from_single_file)
    )
    assert torch.equal(torch.from_numpy(with_folder), torch.from_numpy(with_file))
