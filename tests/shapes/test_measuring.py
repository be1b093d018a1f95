"""The judge reads clean drawings without a mistake: only then do its verdicts on a model mean anything."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from easel_shapes.recipe import classifier, measure
from easel_shapes.recipe.drawing import draw_scene
from easel_shapes.recipe.evaluate import Case, Tally, judge, make_cases
from easel_shapes.recipe.scenes import group_scene, is_held_out, random_scene, single_scene
from easel_shapes.recipe.words import COLOURS, POSITIONS, SHAPES


def test_background_count_colours_and_places_are_read_from_any_drawing() -> None:
    rng = Random(11)
    for _ in range(120):
        scene = random_scene(rng)
        reading = measure.read(draw_scene(scene))
        assert reading.background == scene.background
        assert Counter(blob.colour for blob in reading.blobs) == Counter(item.colour for item in scene.items)
        if scene.layout == "single":
            assert reading.blobs[0].position == scene.items[0].position


@pytest.mark.parametrize("name", list(COLOURS))
def test_a_colour_is_named_in_spite_of_noise(name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 8, size=(500, 3))
    pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
    assert measure.most_common_colour(pixels) == name


@pytest.mark.parametrize("name", list(POSITIONS))
def test_a_place_has_its_own_word(name: str) -> None:
    assert measure.position_at(*POSITIONS[name]) == name


def test_an_empty_picture_has_no_shapes() -> None:
    reading = measure.read(np.full((64, 64, 3), COLOURS["green"], dtype=np.uint8))
    assert reading == measure.Reading("green", ())


def test_specks_are_no_shapes() -> None:
    picture = draw_scene(single_scene(Random(0), "circle", "red", "white", position="centre"))
    picture = picture.copy()
    picture[5:10, 5:10] = COLOURS["black"]
    assert len(measure.read(picture).blobs) == 1


def test_parts_that_touch_at_corners_are_apart() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[1, 2] = True
    assert [int(part.sum()) for part in measure.connected(mask)] == [2, 1]


def test_the_shipped_classifier_names_clean_drawings(judge: classifier.ShapeNet) -> None:
    assert classifier.accuracy(judge, count=300, seed=2) >= 0.99


def test_the_judge_accepts_true_drawings_and_refuses_false_ones(judge: classifier.ShapeNet) -> None:
    rng = Random(6)
    case = Case("single", "", "blue", (("star", "red"),), "top left")
    verdicts = {}
    for shape, colour, background, position in (
        ("star", "red", "blue", "top left"),
        ("heart", "red", "blue", "top left"),
        ("star", "green", "blue", "top left"),
        ("star", "red", "white", "top left"),
        ("star", "red", "blue", "right"),
    ):
        scene = single_scene(rng, shape, colour, background, size="medium", position=position)
        verdicts[shape, colour, background, position] = verdict(case, scene, judge)
    assert list(verdicts.values()) == [True, False, False, False, False]


def test_the_judge_sees_which_colour_belongs_to_which_shape(judge: classifier.ShapeNet) -> None:
    rng = Random(6)
    case = Case("pair", "", "white", (("circle", "red"), ("square", "blue")))
    right = group_scene(rng, [("circle", "red"), ("square", "blue")], "white", layout="row")
    swapped = group_scene(rng, [("circle", "blue"), ("square", "red")], "white", layout="row")
    assert verdict(case, right, judge)
    assert not verdict(case, swapped, judge)


def verdict(case: Case, scene, network: classifier.ShapeNet) -> bool:  # type: ignore[no-untyped-def] # a Scene
    return judge_once(case, draw_scene(scene), network)


def judge_once(case: Case, picture: np.ndarray, network: classifier.ShapeNet) -> bool:
    return judge(case, picture, network, Tally())


def test_prompts_ask_for_held_out_combinations_and_every_shape_alike() -> None:
    cases = make_cases(500, seed=0)
    assert all(is_held_out(*case.things[0], case.background) for case in cases)
    assert set(Counter(case.things[0][0] for case in cases).values()) == {50}
    kinds = Counter(case.kind for case in cases)
    assert kinds["single"] > 250
    assert kinds["count"] >= 80
    assert kinds["pair"] >= 60
    assert {case.things[0][0] for case in cases} == set(SHAPES)
