"""The judge: asks the model for held-out combinations and measures whether it drew them.

Colours, places and counts come from plain statistics (`measure`), shapes from a CNN trained on clean drawings
(`classifier`). Pictures are drawn by the worker's own pipeline, as a user's are.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from easel_shapes.recipe import classifier, measure
from easel_shapes.recipe.scenes import held_out_combinations, is_held_out
from easel_shapes.recipe.words import COLOURS, PLURALS, POSITIONS, SHAPES
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.generation import drawing

STEPS = 20
CFG_SCALE = 7.0
SAMPLER = "DPM++ 2M"
_SIDE = 128
_SHEET_COLUMNS = 8
_SHEET_ROWS = 6
_NEEDED = 0.99  # the classifier's own accuracy, below which its verdicts mean nothing
_COUNT_WORDS = {2: "two", 3: "three"}
_WORDINGS = ("a {} on a {} background", "{}, {} background", "a drawing of a {} on {}")


@dataclass(frozen=True)
class Case:
    """What is asked for: a prompt, and what the picture must then show.

    `things` are (shape, colour) from left to right; `position` is "" where the prompt names none.
    """

    kind: str
    prompt: str
    background: str
    things: tuple[tuple[str, str], ...]
    position: str = ""


@dataclass
class Tally:
    """Right answers and questions, by aspect and by word: ("shape", "star") -> [right, asked]."""

    counts: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, aspect: str, word: str, right: bool) -> None:
        """One more answer."""
        for key in {(aspect, ""), (aspect, word)}:
            entry = self.counts.setdefault(key, [0, 0])
            entry[0] += right
            entry[1] += 1

    def rate(self, aspect: str, word: str = "") -> float:
        """The part that was right; not a number where nothing was asked."""
        right, asked = self.counts.get((aspect, word), (0, 0))
        return right / asked if asked else float("nan")


def make_cases(count: int, seed: int) -> list[Case]:
    """`count` prompts about held-out combinations: 64 % one shape, 20 % two or three equal ones, 16 % two
    different ones. Shapes come round in turn, so that every word is asked equally often."""
    rng = Random(f"cases {seed}")  # noqa: S311 - prompts are no secrets
    combinations = held_out_combinations()
    rng.shuffle(combinations)
    by_shape = {shape: [each for each in combinations if each[0] == shape] for shape in SHAPES}
    cases = []
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        options = by_shape[shape]
        combination = options[(number // len(SHAPES)) % len(options)]
        # Rounds over the shapes, not single prompts, change kind.
        turn = (number // len(SHAPES)) % 25
        if turn % 5 == 1:
            cases.append(_count_case(rng, *combination))
        elif turn % 6 == 3:
            cases.append(_pair_case(rng, *combination))
        else:
            cases.append(_single_case(rng, *combination))
    return cases


def judge(case: Case, picture: NDArray[np.uint8], network: classifier.ShapeNet, tally: Tally) -> bool:
    """Compare one picture with what was asked; whether all of it is right."""
    reading = measure.read(picture)
    shapes = classifier.classify(network, reading.blobs)
    seen = [(shape, blob.colour) for shape, blob in zip(shapes, reading.blobs, strict=True)]
    verdicts = [("background", case.background, reading.background == case.background)]
    if case.kind == "single":
        shape, colour = case.things[0]
        # The largest blob is the shape; a speck beside it costs the count, not the shape.
        largest = max(range(len(seen)), key=lambda index: reading.blobs[index].area, default=None)
        found = ("", "") if largest is None else seen[largest]
        verdicts += [("shape", shape, found[0] == shape), ("colour", colour, found[1] == colour)]
        verdicts.append(("one only", "", len(seen) == 1))
        if case.position:
            at = "" if largest is None else reading.blobs[largest].position
            verdicts.append(("position", case.position, at == case.position))
    elif case.kind == "count":
        verdicts.append(("count", str(len(case.things)), len(seen) == len(case.things)))
        shape, colour = case.things[0]
        verdicts.append(("colour of several", colour, bool(seen) and all(c == colour for _, c in seen)))
        verdicts.append(("shape of several", shape, bool(seen) and all(s == shape for s, _ in seen)))
    else:
        verdicts.append(("two objects", "", len(seen) == 2))
        verdicts.append(("both colours", "", {c for _, c in seen} == {c for _, c in case.things}))
        verdicts.append(("binding", "", Counter(seen) == Counter(case.things)))
    for aspect, word, right in verdicts:
        tally.add(aspect, word, right)
    return all(right for _, _, right in verdicts)


def evaluate(
    model: Path,
    work: Path,
    *,
    prompts: int,
    seeds: int,
    classifier_steps: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Tally:
    """Judge the model folder `model`; writes `work`/evaluation.md, evaluation.json and samples.png.

    The pictures of the sheet are the first seed's of the first prompts, none left out.
    """
    network = judge_network(work / "judge.safetensors", classifier_steps)
    checkpoint = load_checkpoint(model, device=device, dtype=dtype)
    tally, sheet = Tally(), []
    started = time.monotonic()
    for case in make_cases(prompts, seed=0):
        pictures = draw(checkpoint, case.prompt, seeds=tuple(range(seeds)))
        for picture in pictures:
            tally.add("everything", case.kind, judge(case, picture, network, tally))
        sheet.append(pictures[0])
    seconds = (time.monotonic() - started) / (prompts * seeds)
    table = report(tally, f"{prompts} prompts, {seeds} seeds each, {seconds:.2f} s per picture")
    (work / "evaluation.md").write_text(table, encoding="utf-8")
    counts = {" / ".join(key).removesuffix(" / "): value for key, value in sorted(tally.counts.items())}
    (work / "evaluation.json").write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    contact_sheet(sheet).save(work / "samples.png", optimize=True)
    print(table, file=sys.stderr)
    return tally


def draw(checkpoint: Checkpoint, prompt: str, *, seeds: tuple[int, ...], **fields: Any) -> NDArray[np.uint8]:
    """The judged settings' pictures of one prompt: (len(seeds), height, width, 3).

    `fields` are `easel_worker.generation.drawing.draw`'s, in place of the judged settings.
    """
    settings = {
        "steps": STEPS,
        "cfg_scale": CFG_SCALE,
        "sampler": SAMPLER,
        "width": _SIDE,
        "height": _SIDE,
        **fields,
    }
    return drawing.draw(checkpoint, prompt, seeds=seeds, **settings)


def judge_network(path: Path, steps: int) -> classifier.ShapeNet:
    """The classifier kept in `path`, trained if there is none yet; says so where it is not good enough."""
    if path.is_file():
        network = classifier.load_classifier(path)
    else:
        network = classifier.train_classifier(path, steps=steps)
    share = classifier.accuracy(network, count=600, seed=1)
    worth = "good" if share >= _NEEDED else "NOT GOOD ENOUGH to judge with"
    print(f"judge: {100 * share:.1f} % on held-out drawings ({worth})", file=sys.stderr)
    return network


def report(tally: Tally, heading: str) -> str:
    """The figures as Markdown tables: by aspect, then by word."""
    lines = [heading, "", "| aspect | right | asked | % |", "|---|---|---|---|"]
    lines += [_row(aspect, *tally.counts[aspect, ""]) for aspect in _aspects(tally)]
    for aspect in ("shape", "colour", "background", "position", "count"):
        words = [(word, value) for (name, word), value in tally.counts.items() if name == aspect and word]
        if words:
            lines += ["", f"| {aspect} | right | asked | % |", "|---|---|---|---|"]
            lines += [_row(word, *value) for word, value in sorted(words)]
    return "\n".join(lines) + "\n"


def contact_sheet(pictures: Iterable[NDArray[np.uint8]]) -> Image.Image:
    """The first 48 pictures, in rows of eight, with a thin white line between."""
    shown = list(pictures)[: _SHEET_COLUMNS * _SHEET_ROWS]
    side = shown[0].shape[0] + 2
    rows = -(-len(shown) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (side * min(len(shown), _SHEET_COLUMNS), side * rows), "white")
    for index, picture in enumerate(shown):
        row, column = divmod(index, _SHEET_COLUMNS)
        sheet.paste(Image.fromarray(picture), (column * side + 1, row * side + 1))
    return sheet


def _single_case(rng: Random, shape: str, colour: str, background: str) -> Case:
    position = rng.choice(list(POSITIONS)) if rng.random() < 0.5 else ""
    prompt = rng.choice(_WORDINGS).format(f"{colour} {shape}", background)
    if position:
        prompt = f"a {colour} {shape} {_place(position)} on a {background} background"
    return Case("single", _grammar(prompt), background, ((shape, colour),), position)


def _count_case(rng: Random, shape: str, colour: str, background: str) -> Case:
    count = rng.choice((2, 3))
    prompt = f"{_COUNT_WORDS[count]} {colour} {PLURALS[shape]} on a {background} background"
    return Case("count", _grammar(prompt), background, ((shape, colour),) * count)


def _pair_case(rng: Random, shape: str, colour: str, background: str) -> Case:
    others = [
        (other, paint)
        for other in SHAPES
        for paint in COLOURS
        if other != shape and paint not in (colour, background) and not is_held_out(other, paint, background)
    ]
    second = rng.choice(others)
    prompt = f"a {colour} {shape} and a {second[1]} {second[0]} on a {background} background"
    return Case("pair", _grammar(prompt), background, ((shape, colour), second))


def _place(position: str) -> str:
    if position == "centre":
        return "in the centre"
    if " " in position:
        return f"in the {position} corner"
    return f"on the {position}" if position in ("left", "right") else f"at the {position}"


def _grammar(prompt: str) -> str:
    return prompt.replace("a orange", "an orange")


def _aspects(tally: Tally) -> list[str]:
    return sorted({aspect for aspect, _ in tally.counts})


def _row(name: str, right: int, asked: int) -> str:
    return f"| {name} | {right} | {asked} | {100 * right / asked:.1f} |"
