"""The judge's second part: what else a user may ask, one condition changed at a time.

Every condition gets the same prompts about held-out combinations and the same seed, so that the rows of the
table can be compared: frames, samplers, guidance, wordings, sizes, fills, negative prompts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from easel_shapes.recipe import classifier, measure
from easel_shapes.recipe.evaluate import Tally, draw, judge, judge_network, make_cases
from easel_shapes.recipe.scenes import held_out_combinations
from easel_shapes.recipe.words import SIZE_RADII
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.samplers.registry import SAMPLERS

FRAMES = (
    (96, 96), (128, 128), (160, 160), (192, 192), (256, 256), (96, 128), (128, 192), (192, 128), (256, 192),
)  # fmt: skip
SCALES = (3.0, 5.0, 7.0, 9.0)
STEPS = (10, 20, 30)
_REWORDINGS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "no articles": lambda text: f" {text}".replace(" an ", " ").replace(" a ", " ").strip(),
    "opening": lambda text: f"a picture of {text}",
    "quality tags": lambda text: f"masterpiece, best quality, {text}",
    "full stop": lambda text: f"{text[0].upper()}{text[1:]}.",
}
_MEDIUM_FROM = 0.178  # half the longer side of a shape's box, as a part of the picture's shorter side
_LARGE_FROM = 0.291
_LINE_AT_LEAST = 8  # pixels
_STRIPES_APART = 40.0  # levels of lightness
_CHANGES = 4


def survey(model: Path, work: Path, *, prompts: int, classifier_steps: int, device: torch.device) -> str:
    """Ask `prompts` prompts under every condition; writes and returns the table, `work`/survey.md."""
    network = judge_network(work / "judge.safetensors", classifier_steps)
    checkpoint = load_checkpoint(model, device=device, dtype=torch.float32)
    lines = ["| condition | right | asked | % |", "|---|---|---|---|"]
    for condition, right in _conditions(checkpoint, network, prompts):
        lines.append(f"| {condition} | {sum(right)} | {len(right)} | {100 * sum(right) / len(right):.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    table = "\n".join(lines) + "\n"
    (work / "survey.md").write_text(table, encoding="utf-8")
    return table


def _conditions(
    checkpoint: Checkpoint, network: classifier.ShapeNet, prompts: int
) -> Iterator[tuple[str, list[bool]]]:
    cases = make_cases(10 * prompts, seed=1)[::7][:prompts]  # all kinds and shapes among them

    def ask(reword: Callable[[str], str] = str, **fields: Any) -> list[bool]:
        return [
            judge(case, draw(checkpoint, reword(case.prompt), seeds=(0,), **fields)[0], network, Tally())
            for case in cases
        ]

    for width, height in FRAMES:
        yield f"{width} x {height}", ask(width=width, height=height)
    for sampler in SAMPLERS:
        yield sampler, ask(sampler=sampler)
    for scale in SCALES:
        yield f"CFG scale {scale:g}", ask(cfg_scale=scale)
    for steps in STEPS:
        yield f"{steps} steps", ask(steps=steps)
    for name, reword in _REWORDINGS.items():
        yield f"wording: {name}", ask(reword)
    yield from _attributes(checkpoint, network, prompts)


def _attributes(
    checkpoint: Checkpoint, network: classifier.ShapeNet, prompts: int
) -> Iterator[tuple[str, list[bool]]]:
    rng = Random("attributes")  # noqa: S311 - prompts are no secrets
    # A thin shape's outline is all there is of it: these have an inside to look at.
    solid = [each for each in held_out_combinations() if each[0] not in ("ring", "crescent", "cross", "star")]
    chosen = rng.sample(solid, min(prompts, len(solid)))

    def ask(prompt: str, test: Callable[[NDArray[np.uint8], str], bool]) -> list[bool]:
        verdicts = []
        for shape, colour, background in chosen:
            text = prompt.format(shape=shape, colour=colour, background=background)
            verdicts.append(test(draw(checkpoint, text, seeds=(0,))[0], colour))
        return verdicts

    def has_size(size: str) -> Callable[[NDArray[np.uint8], str], bool]:
        return lambda picture, colour: size_of(picture) == size

    def striped(picture: NDArray[np.uint8], colour: str) -> bool:
        return is_striped(picture)

    on = "on a {background} background"
    for size in SIZE_RADII:
        yield f"a {size} shape", ask(f"a {size} {{colour}} {{shape}} {on}", has_size(size))
    yield "outlined: hollow", ask(f"an outlined {{colour}} {{shape}} {on}", is_hollow)
    yield "striped: two colours", ask(f"a striped {{colour}} {{shape}} {on}", striped)
    plain = ask(f"a {{colour}} {{shape}} {on}", striped)
    yield "plain: one colour", [not verdict for verdict in plain]
    for name, negative in (
        ("any circle: not red", ""),
        ('with "red" in the negative prompt: not red', "red"),
    ):
        yield name, [not red for red in _reds(checkpoint, prompts, negative)]


def _reds(checkpoint: Checkpoint, count: int, negative: str) -> list[bool]:
    """Whether a circle of any colour came out red, for so many seeds, at CFG scale 3."""
    prompt = "a circle on a white background"
    pictures = (
        draw(checkpoint, prompt, seeds=(seed,), negative_prompt=negative, cfg_scale=3.0)[0]
        for seed in range(count)
    )
    return [main_colour(picture) == "red" for picture in pictures]


def main_colour(picture: NDArray[np.uint8]) -> str:
    """The colour of the largest shape; "" where there is none."""
    blob = measure.read(picture).largest
    return blob.colour if blob else ""


def size_of(picture: NDArray[np.uint8]) -> str:
    """The size word nearest to the largest shape's box; "" where there is none."""
    blob = measure.read(picture).largest
    if blob is None:
        return ""
    radius = max(blob.width * picture.shape[1], blob.height * picture.shape[0]) / 2 / min(picture.shape[:2])
    return "small" if radius < _MEDIUM_FROM else "medium" if radius < _LARGE_FROM else "large"


def is_hollow(picture: NDArray[np.uint8], colour: str) -> bool:
    """Whether the largest shape has the right colour, and the background shows in the middle of its box."""
    blob = measure.read(picture).largest
    if blob is None:
        return False
    middle = int(blob.y * picture.shape[0]), int(blob.x * picture.shape[1])
    return blob.colour == colour and not measure.foreground(picture)[middle]


def is_striped(picture: NDArray[np.uint8]) -> bool:
    """Whether a line down the middle of the largest shape goes between light and dark four times or more."""
    blob = measure.read(picture).largest
    if blob is None:
        return False
    inside = blob.mask[:, int(blob.x * picture.shape[1])]
    # Without the rim, where the shape's colour runs into the background's.
    inside = inside & np.roll(inside, 1) & np.roll(inside, -1)
    line = picture[inside, int(blob.x * picture.shape[1])].astype(float).mean(axis=1)
    if len(line) < _LINE_AT_LEAST:
        return False
    high = line > (line.max() + line.min()) / 2
    return bool(np.ptp(line) > _STRIPES_APART and np.count_nonzero(high[1:] != high[:-1]) >= _CHANGES)
