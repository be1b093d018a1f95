"""Captions of a scene, in many wordings: sentences and tags, with or without articles, commas and capitals.

What a caption does not say is as it usually is (in the centre, of middle size), except for colours, which are
free when they are left out.
"""

from __future__ import annotations

from itertools import groupby
from random import Random

from easel_shapes.recipe.drawing import Item, Scene
from easel_shapes.recipe.words import COLOUR_WORDS, COUNT_WORDS, PLURALS, SIZE_WORDS

_OPENINGS = ("a picture of", "a drawing of", "an image of", "a photo of", "there is", "draw")
_TAGS = ("masterpiece", "best quality", "high quality", "detailed", "simple", "flat", "clean")
_SAYS_COLOUR = 0.95  # of captions of a single shape; without a colour there is something to exclude
_CENTRE_WORDS = ("centre", "center", "middle")


def caption(scene: Scene, rng: Random) -> str:
    """One caption; the same `rng` state gives the same words."""
    says_background = rng.random() < 0.93
    if len(scene.items) == 1 and rng.random() < 0.3:
        text = _as_tags(scene, rng, says_background=says_background)
    else:
        text = _as_sentence(scene, rng, says_background=says_background)
    if rng.random() < 0.06:
        text = f"{text}, {', '.join(rng.sample(_TAGS, rng.randint(1, 2)))}"
    return _dress(text, rng)


def _as_sentence(scene: Scene, rng: Random, *, says_background: bool) -> str:
    subject = _subject(scene, rng)
    if rng.random() < 0.12:
        subject = f"{rng.choice(_OPENINGS)} {subject}"
    if not says_background:
        return subject
    behind = _background(scene.background, rng)
    if rng.random() < 0.06:  # the background first: "on a blue background, a red circle"
        return f"{behind}, {subject}"
    return f"{subject}{rng.choice((' ', ' ', ' ', ', '))}{behind}"


def _as_tags(scene: Scene, rng: Random, *, says_background: bool) -> str:
    item = scene.items[0]
    parts = [_noun(item, 1, rng, article=rng.random() < 0.3, says_colour=rng.random() < _SAYS_COLOUR)]
    if _says_position(item, rng):
        parts.append(_position_tag(item.position, rng))
    if says_background:
        word = _colour(scene.background, rng)
        parts.append(rng.choice((f"{word} background", f"on {word}", f"{word} background")))
    if rng.random() < 0.25:
        rng.shuffle(parts)
    return ", ".join(parts)


def _subject(scene: Scene, rng: Random) -> str:
    if len(scene.items) == 1:
        item = scene.items[0]
        says_colour = rng.random() < _SAYS_COLOUR
        noun = _noun(item, 1, rng, article=rng.random() < 0.85, says_colour=says_colour)
        if not _says_position(item, rng):
            return noun
        return f"{noun}{rng.choice((' ', ', '))}{_position_phrase(item.position, rng)}"
    groups = [
        (items[0], len(items))
        for _, found in groupby(scene.items, key=lambda item: (item.shape, item.colour))
        for items in [list(found)]
    ]
    nouns = [_noun(item, count, rng, article=True) for item, count in groups]
    if len(nouns) == 1:
        return nouns[0]
    if scene.layout == "three":
        return f"{nouns[0]} and {nouns[1]}"
    return _two(nouns[0], nouns[1], scene.layout, rng)


def _two(first: str, second: str, layout: str, rng: Random) -> str:
    """Two different shapes; `first` is the left or upper one, and plain wordings keep that order."""
    if layout == "row":
        return rng.choice(
            (
                f"{first} and {second}",
                f"{first} and {second}",
                f"{first}, {second}",
                f"{first} next to {second}",
                f"{first} on the left and {second} on the right",
                f"{first} left of {second}",
                f"{second} right of {first}",
            )
        )
    return rng.choice(
        (
            f"{first} above {second}",
            f"{first} over {second}",
            f"{second} below {first}",
            f"{first} at the top and {second} at the bottom",
        )
    )


def _noun(item: Item, count: int, rng: Random, *, article: bool, says_colour: bool = True) -> str:
    words = []
    if (item.size in ("small", "large") and rng.random() < 0.85) or (
        item.size == "medium" and rng.random() < 0.08
    ):
        words.append(rng.choice(SIZE_WORDS[item.size]))
    fill_behind = ""
    if item.fill != "plain":
        if item.fill == "striped" and rng.random() < 0.2:
            fill_behind = " with stripes"
        else:
            words.append(item.fill)
    elif rng.random() < 0.04:
        words.append(rng.choice(("plain", "solid", "filled")))
    if says_colour:
        words.append(_colour(item.colour, rng))
    words.append(item.shape if count == 1 else PLURALS[item.shape])
    if count > 1:
        words.insert(0, rng.choice(COUNT_WORDS[count]))
    elif article:
        number = "one" if rng.random() < 0.08 else "a"
        words.insert(0, "an" if number == "a" and words[0][0] in "aeiou" else number)
    return " ".join(words) + fill_behind


def _says_position(item: Item, rng: Random) -> bool:
    return rng.random() < (0.12 if item.position == "centre" else 0.95)


def _position_phrase(position: str, rng: Random) -> str:
    if position == "centre":
        return f"in the {rng.choice(_CENTRE_WORDS)}"
    if " " in position:
        return rng.choice((f"in the {position}", f"in the {position} corner", f"at the {position}", position))
    if position in ("left", "right"):
        return rng.choice((f"on the {position}", f"on the {position} side", f"at the {position}"))
    return f"at the {position}"


def _position_tag(position: str, rng: Random) -> str:
    if position == "centre":
        return rng.choice((*_CENTRE_WORDS, "centered"))
    return rng.choice((position, position, _position_phrase(position, rng)))


def _background(colour: str, rng: Random) -> str:
    word = _colour(colour, rng)
    article = "an" if word[0] in "aeiou" else "a"
    return rng.choice(
        (
            f"on {article} {word} background",
            f"on {article} {word} background",
            f"on {word}",
            f"on {word} background",
            f"with {article} {word} background",
            f"against {article} {word} background",
        )
    )


def _colour(name: str, rng: Random) -> str:
    words = COLOUR_WORDS.get(name, (name,))
    return words[0] if rng.random() < 0.75 else rng.choice(words)


def _dress(text: str, rng: Random) -> str:
    chance = rng.random()
    if chance < 0.08:
        text = text.upper()
    elif chance < 0.25:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.08:
        text = text.replace(",", "")
    return text + "." if rng.random() < 0.1 else text
