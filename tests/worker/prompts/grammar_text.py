"""Prompts made of the grammar's own pieces, for tests that take any text."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = [
    *"()[]:|\\<>#,. ",
    "a",
    "cat",
    "BREAK",
    "AND",
    " AND ",
    ":1.2)",
    ":0.5]",
    ":3]",
    ":-1",
    "::",
    "<lora:x:",
    "0.5",
    "1.2.3",
    "1e9",
    "\n",
    "é",
    "猫",
]

# What makes a careless reader recurse, or walk the same text again and again.
NESTED = ["(", "[", "(a:1", "[a:b:1]", "[[a:b:2]", "[a|", "<a:", "<a:>", "BREAK ", "a:1 AND ", ":   ", "#\n"]


def prompts() -> st.SearchStrategy[str]:
    """Texts of up to 40 pieces."""
    return st.lists(st.one_of(st.sampled_from(PIECES), st.characters(codec="utf-8")), max_size=40).map(
        "".join
    )


def long_prompt(pattern: str) -> str:
    """A quarter of a megabyte: a reader whose time grows with the square of it would need minutes."""
    return (pattern * (250_000 // len(pattern) + 1))[:250_000]
