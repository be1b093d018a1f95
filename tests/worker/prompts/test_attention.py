"""Attention weights: AUTOMATIC1111's results, and any input at all."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from easel_worker.diffusion.prompts.attention import MAX_WEIGHT, Span, parse_attention

from .grammar_text import NESTED, long_prompt, prompts

VECTORS: list[tuple[str, list[tuple[str, float]]]] = [
    ("normal text", [("normal text", 1)]),
    ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    (r"\(literal\]", [("(literal]", 1)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            ("a ", 1),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ],
    ),
    ("((a))", [("a", 1.21)]),
    ("[a]", [("a", 0.90909)]),
    ("[[a]]", [("a", 0.82645)]),
    ("(a:.5)", [("a", 0.5)]),
    ("(a:-1)", [("a", -1)]),
    ("(a: 1.3 )", [("a", 1.3)]),
    ("a:b", [("a:b", 1)]),
    ("(a:b:1.2)", [("a:b", 1.2)]),
    ("(a::1.2)", [("a:", 1.2)]),
    ("(a, b:1.2) c", [("a, b", 1.2), (" c", 1)]),
    ("[a:1.2]", [("a:1.2", 0.90909)]),
    ("([a])", [("a", 1)]),
    ("(a]", [("a]", 1.1)]),
    ("(a:1.2", [("a:1.2", 1.1)]),
    (r"\\(x)", [("\\", 1), ("x", 1.1)]),
    ("{a}", [("{a}", 1)]),
    ("", [("", 1)]),
    ("a BREAK b", [("a", 1), ("BREAK", -1), ("b", 1)]),
    ("BREAK", [("", 1), ("BREAK", -1), ("", 1)]),
    ("(a BREAK b:1.2)", [("a", 1.2), ("BREAK", -1.2), ("b", 1.2)]),
]


@pytest.mark.parametrize(("prompt", "spans"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_vectors(prompt: str, spans: list[tuple[str, float]]) -> None:
    parsed = parse_attention(prompt)
    assert [span.text for span in parsed] == [text for text, _ in spans]
    assert [span.weight for span in parsed] == pytest.approx([weight for _, weight in spans], abs=5e-6)


@pytest.mark.parametrize(
    ("prompt", "spans"),
    [
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),  # a 500 upstream
        ("(a:.)", [("a:.", 1.1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("a:1.2)", [("a:1.2)", 1)]),
        ("()", [("", 1)]),
        ("((:2)", [("", 1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 1 / 1.1)]),  # round and square do not see each other
        ("a)b]", [("a)b]", 1)]),
        ("\\a\\", [("a", 1)]),
        (r"(a\)b:2)", [("a)b", 2)]),
        ("BREAKa aBREAK", [("BREAKa aBREAK", 1)]),
        ("a\nBREAK  BREAK\tb", [("a", 1), ("BREAK", -1), ("", 1), ("BREAK", -1), ("b", 1)]),
    ],
)
def test_the_rules_between_the_vectors(prompt: str, spans: list[tuple[str, float]]) -> None:
    parsed = parse_attention(prompt)
    assert [span.text for span in parsed] == [text for text, _ in spans]
    assert [span.weight for span in parsed] == pytest.approx([weight for _, weight in spans])


def test_break_is_a_word_inside_weighted_brackets() -> None:
    assert [span.is_break for span in parse_attention("a BREAK b")] == [False, True, False]
    assert not any(span.is_break for span in parse_attention("(a BREAK b:1.2)"))


@pytest.mark.parametrize("prompt", ["(" * 3000 + "a", "(a:1" + "0" * 400 + ")", "((a:1000):1000)"])
def test_weights_stay_numbers(prompt: str) -> None:
    assert parse_attention(prompt) == [Span("a", MAX_WEIGHT)]


def test_bounded_factors_still_cancel() -> None:
    assert parse_attention("((a:5000):0.1)")[0].weight == pytest.approx(500)
    assert parse_attention("((a:0.1):5000)")[0].weight == pytest.approx(500)


@given(prompts())
@example("(((a:0)))")
def test_any_text_has_weights_and_keeps_its_letters(prompt: str) -> None:
    spans = parse_attention(prompt)
    assert spans
    assert all(math.isfinite(span.weight) and abs(span.weight) <= MAX_WEIGHT for span in spans)
    assert all(one.weight != next_.weight for one, next_ in pairwise(spans))
    letters = "".join(span.text for span in spans)
    assert [letter for letter in letters if letter.isalpha()] == [c for c in prompt if c.isalpha()]


@given(st.text(alphabet="ab ,{}<>#\n"), st.integers(-20, 20))
def test_brackets_count(text: str, depth: int) -> None:
    opening, closing = ("(", ")") if depth > 0 else ("[", "]")
    parsed = parse_attention(opening * abs(depth) + text + closing * abs(depth))
    assert parsed == [Span(text, pytest.approx(1.1**depth if text else 1.0))]


@pytest.mark.parametrize("pattern", NESTED)
def test_long_prompts_are_read_at_once(pattern: str) -> None:
    prompt = long_prompt(pattern)
    assert parse_attention(prompt)
