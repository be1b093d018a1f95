"""The captions: they say what the scene shows, in many ways."""

from __future__ import annotations

import re
from random import Random

import pytest

from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.scenes import group_scene, random_scene, single_scene
from easel_shapes.recipe.words import COLOUR_WORDS, PLURALS

LEFT_FIRST = re.compile(r"red circles?.* blue stars?")


def captions_of(scene, count: int = 200) -> list[str]:  # type: ignore[no-untyped-def] # a Scene
    rng = Random(5)
    return [caption(scene, rng).lower() for _ in range(count)]


def test_a_caption_names_every_shape_and_the_colours_of_several() -> None:
    rng = Random(2)
    for _ in range(300):
        scene = random_scene(rng)
        text = caption(scene, rng).lower()
        for item in scene.items:
            assert item.shape in text or PLURALS[item.shape] in text
            if len(scene.items) > 1:
                assert any(word in text for word in COLOUR_WORDS.get(item.colour, (item.colour,)))


def test_the_colour_of_a_single_shape_is_left_out_now_and_then() -> None:
    texts = captions_of(single_scene(Random(0), "star", "red", "blue"), 400)
    assert 0 < sum("red" not in text for text in texts) < 50


def test_wordings_differ() -> None:
    scene = single_scene(Random(0), "star", "red", "blue", position="top left")
    texts = captions_of(scene)
    assert len(set(texts)) > 100
    assert any("," in text for text in texts)
    assert any("," not in text for text in texts)
    rng = Random(1)
    assert any(caption(scene, rng).isupper() for _ in range(100))


def test_the_background_is_named_nearly_always() -> None:
    texts = captions_of(single_scene(Random(0), "star", "red", "blue"), 400)
    named = sum("blue" in text for text in texts)
    assert 340 < named < 400


def test_a_place_away_from_the_centre_is_named_nearly_always() -> None:
    texts = captions_of(single_scene(Random(0), "star", "red", "blue", position="bottom right"), 400)
    assert sum("bottom right" in text for text in texts) > 350


def test_the_centre_goes_mostly_without_saying() -> None:
    texts = captions_of(single_scene(Random(0), "star", "red", "blue", position="centre"), 400)
    named = sum(any(word in text for word in ("centre", "center", "middle")) for text in texts)
    assert 10 < named < 100


@pytest.mark.parametrize(("count", "words"), [(2, ("two", "2")), (3, ("three", "3"))])
def test_counts_are_words_before_a_plural(count: int, words: tuple[str, ...]) -> None:
    layout = "row" if count == 2 else "three"
    scene = group_scene(Random(0), [("cross", "red")] * count, "white", layout=layout)
    for text in captions_of(scene):
        assert "crosses" in text
        assert text.split("crosses")[0].find(words[0]) >= 0 or words[1] in text


def test_two_things_are_told_from_left_to_right_unless_the_words_say_otherwise() -> None:
    scene = group_scene(Random(0), [("circle", "red"), ("star", "blue")], "white", layout="row")
    for text in captions_of(scene):
        assert LEFT_FIRST.search(text) or "right of" in text


def test_articles_fit() -> None:
    texts = captions_of(single_scene(Random(0), "star", "orange", "white", size="medium"))
    assert any("an orange" in text for text in texts)
    assert not any(re.search(r"\ba orange", text) for text in texts)


def test_the_same_state_gives_the_same_words() -> None:
    scene = random_scene(Random(4))
    assert caption(scene, Random(9)) == caption(scene, Random(9))
