"""The shipped model obeys a prompt, at every start and with the worker's own code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from easel_shapes import model_folder
from easel_shapes.recipe import measure

Render = Callable[..., NDArray[np.uint8]]


def test_it_is_small_enough_for_git() -> None:
    assert sum(path.stat().st_size for path in model_folder().rglob("*") if path.is_file()) < 24_000_000


@pytest.mark.parametrize("seed", [0, 1])
def test_a_red_circle_on_a_blue_background(render: Render, seed: int) -> None:
    reading = measure.read(render("a red circle on a blue background", seed=seed))
    assert reading.background == "blue"
    assert max(reading.blobs, key=lambda blob: blob.area).colour == "red"


def test_an_empty_prompt_gives_a_picture(render: Render) -> None:
    assert render("").shape == (128, 128, 3)
