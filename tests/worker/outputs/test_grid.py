"""Many pictures in one."""

from __future__ import annotations

import pytest

from easel_contract.options import RenderOptions
from easel_worker.outputs.grid import grid_shape, make_grid

from .jobs import picture


@pytest.mark.parametrize(
    ("count", "shape"),
    [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3)), (12, (3, 4))],
)
def test_grid_rows_are_the_rounded_root(count: int, shape: tuple[int, int]) -> None:
    assert grid_shape(count) == shape


@pytest.mark.parametrize(
    ("count", "options", "shape"),
    [
        (6, {"n_rows": 3}, (3, 2)),
        (2, {"n_rows": 5}, (2, 1)),
        (8, {"n_rows": 0}, (4, 2)),
        (5, {"grid_prevent_empty_spots": True}, (1, 5)),
        (12, {"grid_prevent_empty_spots": True}, (3, 4)),
        (6, {"grid_prevent_empty_spots": True}, (2, 3)),
        (9, {"grid_prevent_empty_spots": True}, (3, 3)),
    ],
)
def test_the_options_decide_the_rows(count: int, options: dict[str, object], shape: tuple[int, int]) -> None:
    assert grid_shape(count, RenderOptions.model_validate(options), batch_size=4) == shape


def test_a_grid_lays_pictures_out_in_reading_order_on_white() -> None:
    grid = make_grid([picture(value, width=3, height=2) for value in (10, 20, 30)])

    assert grid.shape == (4, 6, 3)
    assert (grid[0, 0, 0], grid[0, 3, 0], grid[2, 0, 0]) == (10, 20, 30)
    assert (grid[2:, 3:] == 255).all()


def test_a_cell_is_as_large_as_the_largest_picture() -> None:
    grid = make_grid([picture(1, width=3, height=2), picture(2, width=1, height=5)])

    assert grid.shape == (5, 6, 3)
    assert (grid[:2, :3] == 1).all()
    assert (grid[:, 3] == 2).all()
    assert (grid[2:, :3] == 255).all()
    assert (grid[:, 4:] == 255).all()
    assert make_grid([picture(9)[..., 0]]).shape == (8, 16, 3)


def test_the_background_can_be_another_colour() -> None:
    grid = make_grid([picture(1), picture(1, height=4)], background=(1, 2, 3))
    assert grid[7, 20].tolist() == [1, 2, 3]
