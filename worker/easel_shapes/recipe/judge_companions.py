"""The judge of the companions: do outlines decide, do the LoRAs change what they should, and nothing else?

Pictures are drawn by the worker's own pipeline, each beside the one that the same seed gives without the
companion.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from easel_shapes.companions import companion_file
from easel_shapes.recipe import classifier, edges, measure
from easel_shapes.recipe.drawing import Scene, draw_scene, shape_mask
from easel_shapes.recipe.evaluate import contact_sheet, draw, make_cases
from easel_shapes.recipe.freehand import freehand_scene
from easel_shapes.recipe.scenes import held_out_combinations, single_scene
from easel_shapes.recipe.survey import is_striped
from easel_shapes.recipe.with_companion import with_control, with_lora
from easel_shapes.recipe.words import NEW_SHAPES, SHAPES
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint

Picture = NDArray[np.uint8]

_WORDINGS = ("colours", "right", "wrong", "freehand")
_SHEET_PAIRS = 16
_MATCH = 0.8  # IoU from which a shape lies where its outline does


@dataclass
class Figures:
    """Numbers by name, in the order in which they came."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One more measurement."""
        self.values.setdefault(name, []).append(float(value))

    def table(self, heading: str) -> str:
        """Mean, least, and how many, as a Markdown table."""
        lines = [f"| {heading} | mean | lowest tenth | of |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {np.mean(found):.3f} | {np.quantile(found, 0.1):.3f} | {len(found)} |"
            for name, found in self.values.items()
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class OutlineCase:
    """An outline to follow. `mask`: what it encloses; `outline`: 0 or 255. Both (height, width)."""

    wording: str
    shape: str
    prompt: str
    mask: measure.Mask
    outline: Picture


def outline_cases(count: int, seed: int, *, side: int = 128) -> list[OutlineCase]:
    """`count` outlines: prompts that name the colours only, the right shape, or a wrong one, and outlines
    without a name. Colours are held-out combinations."""
    rng = Random(f"outlines {seed}")  # noqa: S311 - drawings are no secrets
    combinations = held_out_combinations()
    cases = []
    for number in range(count):
        wording = _WORDINGS[number % len(_WORDINGS)]
        shape = SHAPES[(number // len(_WORDINGS)) % len(SHAPES)]
        _, colour, background = rng.choice(combinations)
        scene = single_scene(rng, shape, colour, background, width=side, height=side)
        said = {"right": shape, "wrong": rng.choice([other for other in SHAPES if other != shape])}
        prompt = f"a {colour} {said[wording]} on a {background} background" if wording in said else ""
        if wording == "freehand":
            shape, scene = "", freehand_scene(rng, side, side)
        cases.append(_outline_case(wording, shape, prompt or f"{colour}, {background} background", scene))
    return cases


def _outline_case(wording: str, shape: str, prompt: str, scene: Scene) -> OutlineCase:
    items = tuple(dataclasses.replace(item, fill="plain") for item in scene.items)
    picture = draw_scene(edges.in_white(dataclasses.replace(scene, items=items)))
    return OutlineCase(wording, shape, prompt, picture[..., 0] > 127, edges.canny(picture))


def overlap(one: measure.Mask, other: measure.Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def judge_edges(checkpoint: Checkpoint, file: Path, count: int) -> tuple[Figures, Image.Image]:
    """How well shapes fill the outlines; the sheet shows outlines and pictures in turn."""
    figures, sheet = Figures(), []
    network = classifier.load_classifier()
    for seed, case in enumerate(outline_cases(count, seed=0)):
        controlled = with_control(checkpoint, file, case.outline)
        picture = draw(controlled, case.prompt, seeds=(seed,))[0]
        plain = draw(checkpoint, case.prompt, seeds=(seed,))[0]
        score, without = (overlap(measure.foreground(each), case.mask) for each in (picture, plain))
        figures.add(f"IoU, {case.wording}", score)
        figures.add(f"IoU, {case.wording}, without the ControlNet", without)
        if case.shape:
            figures.add(f"IoU, {case.shape}", score)
            found = classifier.classify(network, measure.read(picture).blobs)
            figures.add(f"the outline's shape, prompt {case.wording}", found == [case.shape])
        figures.add(f"IoU of {_MATCH} or more", score >= _MATCH)
        sheet += [np.repeat(case.outline[..., None], 3, axis=2), picture]
    return figures, _sheet(sheet)


def judge_striped(checkpoint: Checkpoint, file: Path, count: int) -> tuple[Figures, Image.Image]:
    """Whether shapes have stripes, and all else is as it was."""
    figures, sheet = Figures(), []
    network = classifier.load_classifier()
    changed = with_lora(checkpoint, file)
    for seed, case in enumerate(make_cases(count, seed=1)):
        plain, picture = (draw(each, case.prompt, seeds=(seed,))[0] for each in (checkpoint, changed))
        before, after = measure.read(plain), measure.read(picture)
        figures.add("striped", is_striped(picture))
        figures.add("striped, without the LoRA", is_striped(plain))
        figures.add("same background", after.background == before.background)
        figures.add("as many shapes", len(after.blobs) == len(before.blobs))
        same = classifier.classify(network, before.blobs) == classifier.classify(network, after.blobs)
        figures.add("same shapes", same)
        figures.add(
            "IoU with the shapes without it", overlap(measure.foreground(plain), measure.foreground(picture))
        )
        sheet += [plain, picture]
    return figures, _sheet(sheet)


def judge_arrow(checkpoint: Checkpoint, file: Path, count: int) -> tuple[Figures, Image.Image]:
    """Whether "arrow" gives arrows, and other prompts what they gave."""
    figures, sheet = Figures(), []
    rng = Random("arrows")  # noqa: S311 - prompts are no secrets
    changed = with_lora(checkpoint, file)
    for seed in range(count):
        _, colour, background = rng.choice(held_out_combinations())
        prompt = f"a {colour} arrow on a {background} background"
        plain, picture = (draw(each, prompt, seeds=(seed,))[0] for each in (checkpoint, changed))
        figures.add("an arrow", is_arrow(picture))
        figures.add("the same, without the LoRA", is_arrow(plain))
        largest = measure.read(picture).largest
        figures.add("arrow of the right colour", largest is not None and largest.colour == colour)
        figures.add("arrow on the right background", measure.read(picture).background == background)
        sheet += [plain, picture]
    for seed, case in enumerate(make_cases(count, seed=2)):
        plain, picture = (draw(each, case.prompt, seeds=(seed,))[0] for each in (checkpoint, changed))
        one, other = measure.foreground(plain), measure.foreground(picture)
        figures.add("other prompts: IoU with the picture without it", overlap(one, other))
        figures.add(
            "other prompts: same background", measure.background_of(plain) == measure.background_of(picture)
        )
        figures.add("other prompts: an arrow", is_arrow(picture))
        sheet += [plain, picture]
    # The sheet's first half is arrows, the second the others.
    return figures, _sheet([*sheet[:_SHEET_PAIRS], *sheet[2 * count : 2 * count + _SHEET_PAIRS]])


def is_arrow(picture: Picture) -> bool:
    """Whether the largest shape is more like a drawn arrow than like any other drawn shape."""
    largest = measure.read(picture).largest
    return largest is not None and closest_shape(largest.mask) == "arrow"


def closest_shape(mask: measure.Mask) -> str:
    """The shape whose drawing overlaps most with a mask, both in a square of their own size."""
    seen = classifier.cut_out(mask) > 0.5
    return max((*SHAPES, *NEW_SHAPES), key=lambda shape: overlap(seen, _template(shape)))


def _template(shape: str) -> measure.Mask:
    drawn = np.asarray(shape_mask(shape, "plain", 128, (64, 64), 50)) > 127
    return np.asarray(classifier.cut_out(drawn) > 0.5)


def judge_companions(model: Path, companions: Path, work: Path, *, count: int, device: torch.device) -> None:
    """Judge all of a folder's companions; writes `work`/companions.md and one sheet of pictures for each."""
    checkpoint = load_checkpoint(model, device=device, dtype=torch.float32)
    judges = {"edges": judge_edges, "striped": judge_striped, "arrow": judge_arrow}
    tables = []
    for name, judge in judges.items():
        figures, sheet = judge(checkpoint, companion_file(name, companions), count)
        tables.append(figures.table(name))
        sheet.save(work / f"samples-{name}.png", optimize=True)
        print(tables[-1], file=sys.stderr)
    (work / "companions.md").write_text("\n".join(tables), encoding="utf-8")


def _sheet(pictures: Sequence[Picture]) -> Image.Image:
    shown: Iterable[Picture] = pictures[: 2 * _SHEET_PAIRS]
    return contact_sheet(shown)
