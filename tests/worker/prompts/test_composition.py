"""AND: AUTOMATIC1111's parts, and any input at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from easel_worker.diffusion.prompts.composition import MAX_PART_WEIGHT, Part, split_parts

from .grammar_text import NESTED, long_prompt, prompts


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a :1.2 AND b:0.8", [("a", 1.2), (" b", 0.8)]),
        ("a AND b", [("a", 1), (" b", 1)]),
        ("a:2", [("a", 2)]),
        ("a :-1", [("a", -1)]),
        ("a AND b AND c :0.5", [("a", 1), (" b", 1), (" c", 0.5)]),
        ("a AND", [("a", 1), ("", 1)]),
        ("aANDb", [("aANDb", 1)]),
        ("a and b", [("a and b", 1)]),
        ("(a AND b:1.2)", [("(a", 1), (" b:1.2)", 1)]),
        # beyond the vectors
        ("", [("", 1)]),
        ("a: .5 AND b:3. ", [("a", 0.5), (" b", 3)]),
        ("a:1.2.3", [("a:1.2.3", 1)]),
        ("a:b:2", [("a:b", 2)]),
        ("a:1e5", [("a:1e5", 1)]),
        (":2", [("", 2)]),
    ],
)
def test_parts(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert split_parts(prompt) == [Part(text, weight) for text, weight in parts]


@pytest.mark.parametrize(("digits", "weight"), [("1" + "0" * 30, MAX_PART_WEIGHT), ("1" + "0" * 400, 1.0)])
def test_weights_stay_numbers(digits: str, weight: float) -> None:
    assert split_parts(f"a:{digits}")[0].weight == weight


@given(prompts())
def test_any_text_has_parts(prompt: str) -> None:
    parts = split_parts(prompt)
    assert parts
    assert all(math.isfinite(part.weight) for part in parts)
    assert all(part.text in prompt for part in parts)


@pytest.mark.parametrize("pattern", NESTED)
def test_long_prompts_are_read_at_once(pattern: str) -> None:
    assert split_parts(long_prompt(pattern))
