"""Prompt editing and alternation: AUTOMATIC1111's schedules, and any input at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easel_worker.diffusion.prompts.editing import Phase, PromptSteps, active, schedule

from .grammar_text import NESTED, long_prompt, prompts

LANDSCAPE = (
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
    "[ in foreground::0.6][: in background:0.25] [shoddy:masterful:0.5]"
)


def alternation(*texts: str) -> list[tuple[int, str]]:
    return [(step + 1, texts[step % len(texts)]) for step in range(10)]


TEN_STEPS: list[tuple[str, list[tuple[int, str]]]] = [
    ("test", [(10, "test")]),
    ("", [(10, "")]),
    ("a [b:3]", [(3, "a "), (10, "a b")]),
    ("a [b: 3]", [(3, "a "), (10, "a b")]),
    ("a [b:c:1] d", [(1, "a b d"), (10, "a c d")]),
    ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
    ("[from:to:0.5]", [(5, "from"), (10, "to")]),
    ("[from::2]", [(2, "from"), (10, "")]),
    ("[to:0.3]", [(3, ""), (10, "to")]),
    ("[from:to:0]", [(10, "to")]),
    ("[from:to:1]", [(1, "from"), (10, "to")]),
    ("[from:to:1.0]", [(10, "from")]),
    ("[from:to:100]", [(10, "from")]),
    ("[a:b:-1]", [(10, "b")]),
    ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
    ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [unbalanced", [(10, "a [unbalanced")]),
    ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
    ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("[a|b]", alternation("a", "b")),
    ("[a|b|c]", alternation("a", "b", "c")),
    ("[a|(b:1.1)]", alternation("a", "(b:1.1)")),
    ("[fe|]male", alternation("female", "male")),
    ("[fe|||]male", alternation("female", "male", "male", "male")),
    (
        "[[a|b]:c:0.5]",
        [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a"), *((step, "c") for step in range(6, 11))],
    ),
    ("x [a|b:5] y", [(10, "x [a|b:5] y")]),
    (r"\[a:b:0.5\]", [(10, r"\[a:b:0.5\]")]),
]
HUNDRED_STEPS = [
    (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
    (50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
    (60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
    (75, "fantasy landscape with a lake and an oak in background masterful"),
    (100, "fantasy landscape with a lake and a christmas tree in background masterful"),
]


def phases(pairs: list[tuple[int, str]]) -> list[Phase]:
    return [Phase(until, text) for until, text in pairs]


@pytest.mark.parametrize(("prompt", "expected"), TEN_STEPS, ids=[vector[0] for vector in TEN_STEPS])
def test_vectors_at_ten_steps(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert schedule(prompt, PromptSteps(10)) == phases(expected)


def test_the_vector_at_a_hundred_steps() -> None:
    assert schedule(LANDSCAPE, PromptSteps(100)) == phases(HUNDRED_STEPS)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a [b:.5] c", [(10, "a b c")]),
        ("a [b:1.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:13] c", [(3, "a  c"), (10, "a b c")]),
        ("a [b:3] c", [(10, "a b c")]),
    ],
)
def test_vectors_of_the_hires_pass(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert schedule(prompt, PromptSteps(10, hires_steps=10)) == phases(expected)


def test_the_hires_pass_has_its_own_length() -> None:
    assert schedule("[a:b:1.5]", PromptSteps(20, hires_steps=6)) == phases([(3, "a"), (6, "b")])
    assert schedule("[a:b:22]", PromptSteps(20, hires_steps=6)) == phases([(2, "a"), (6, "b")])


@pytest.mark.parametrize(
    ("when", "switch"), [("0.5", 10), ("1.0", 1), ("1.5", 1), ("3", 3), ("0", 0), ("-1", 0)]
)
def test_old_scheduling_takes_only_what_is_below_one_as_a_fraction(when: str, switch: int) -> None:
    assert PromptSteps(20, old=True).switch(when) == switch
    assert PromptSteps(20, hires_steps=5, old=True).switch(when) == switch


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[a:b:1e1]", [(10, "a")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:-1e999]", [(10, "b")]),
        ("[a:b:+2]", [(2, "a"), (10, "b")]),
        ("[a:b:5.]", [(10, "a")]),
        ("[:2]", [(2, ""), (10, "")]),
        ("[a:b:c]", [(10, "[a:b:c]")]),
        ("[a:b:c:2]", [(10, "[a:b:c:2]")]),
        ("[a]", [(10, "[a]")]),
        ("[a:b:(2)]", [(10, "[a:b:(2)]")]),
        ("[a:b:\\2]", [(10, "[a:b:\\2]")]),
        ("[x (a:b:1.2):y:2]", [(10, "[x (a:b:1.2):y:2]")]),
        ("(a [b:c:2]:1.2)", [(2, "(a b:1.2)"), (10, "(a c:1.2)")]),
        ("a | b [c:d:2]", [(2, "a | b c"), (10, "a | b d")]),
        ("[a [b:2]", [(2, "[a "), (10, "[a b")]),
        ("[a ) b:2] [c:2]", [(2, "[a ) b:2] "), (10, "[a ) b:2] c")]),
        ("[a\\]:b:2]", [(2, "a\\]"), (10, "b")]),
        ("a\\", [(10, "a\\")]),
        ("[[a:1]|b]", [(1, ""), *((step, "b" if step % 2 == 0 else "a") for step in range(2, 11))]),
    ],
)
def test_the_rules_between_the_vectors(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert schedule(prompt, PromptSteps(10)) == phases(expected)


def test_the_phase_of_a_call_is_the_first_that_is_not_over() -> None:
    texts = phases([(2, "a"), (5, "b"), (8, "c")])
    assert [active(texts, call) for call in range(11)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


@given(prompts(), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 12)), st.booleans())
def test_any_text_has_a_schedule(prompt: str, steps: int, hires: int | None, old: bool) -> None:
    counted = PromptSteps(steps, hires, old)
    found = schedule(prompt, counted)
    assert [phase.until for phase in found] == sorted({phase.until for phase in found})
    assert found[0].until >= 1
    assert found[-1].until == counted.total


@given(st.text(alphabet="ab ().,\\<>#", max_size=30))
def test_text_without_square_brackets_is_left_alone(prompt: str) -> None:
    assert schedule(prompt, PromptSteps(7)) == [Phase(7, prompt)]


@given(st.text(alphabet="ab ", max_size=5), st.text(alphabet="cd ", max_size=5), st.integers(1, 9))
def test_edits_nest(before: str, after: str, when: int) -> None:
    edit = f"[{before}:{after}:{when}]"
    assert schedule(f"x[[y]{edit}::10]", PromptSteps(10)) == [
        Phase(when, f"x[y]{before}"),
        Phase(10, f"x[y]{after}"),
    ]


@pytest.mark.parametrize("pattern", NESTED)
def test_long_prompts_are_read_at_once(pattern: str) -> None:
    prompt = long_prompt(pattern)
    assert schedule(prompt, PromptSteps(2))[-1].until == 2


@pytest.mark.parametrize(("opening", "closing"), [("[", ":1]"), ("[", "|]"), ("(", ")"), ("[", "]")])
def test_deep_nesting_is_read_at_once(opening: str, closing: str) -> None:
    depth = 30_000
    prompt = opening * depth + "a" + closing * depth
    assert [phase.until for phase in schedule(prompt, PromptSteps(2))][-1] == 2
