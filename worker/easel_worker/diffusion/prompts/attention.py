"""Attention weights: ``(more)``, ``[less]``, ``(exactly:1.3)``, and the word BREAK."""

from __future__ import annotations

import re
from dataclasses import dataclass

STEP = 1.1
"""One pair of round brackets multiplies the weight by this, one pair of square brackets divides by it."""

MAX_WEIGHT = 1000.0
"""Weights are cut to plus and minus this: a thousand brackets must not overflow the model's numbers."""

BREAK = "BREAK"
_BREAK_WEIGHT = -1.0

# One token: an escaped character, a lone backslash, a weight with the bracket that it closes, a run of plain
# text, a bracket or colon. Unicode digits are digits, as Python's float() has it.
_TOKEN = re.compile(r"\\([\\()\[\]])|\\|(:\s*[+-]?[.\d]+\s*\))|[^\\()\[\]:]+|.", re.DOTALL)
_ESCAPED, _WEIGHT = 1, 2
_BREAK_WORD = re.compile(r"\bBREAK\b")
# Exponents of STEP beyond this are far outside MAX_WEIGHT, and near the end of what a float holds.
_MOST_BRACKETS = 5000
_LARGEST_PRODUCT = 1e100
# Tokens of a matched prompt: what a bracket does to the weights behind it, or a text.
_OPEN_ROUND, _CLOSE_ROUND, _OPEN_SQUARE, _CLOSE_SQUARE, _TEXT, _BREAK = range(6)


@dataclass(frozen=True)
class Span:
    """A piece of prompt and the weight of its tokens; 1 is neutral."""

    text: str
    weight: float

    @property
    def is_break(self) -> bool:
        """True for the word BREAK, which ends a chunk. Inside weighted brackets it is a word like others."""
        return self.text == BREAK and self.weight == _BREAK_WEIGHT


class _Matched:
    """A prompt's tokens in order, every bracket with its partner."""

    def __init__(self, prompt: str) -> None:
        self.kinds: list[int] = []
        self.texts: list[str] = []
        # Of round brackets, by the opening one's place; those that are not in here weigh STEP.
        self.weights: dict[int, float] = {}
        self._open_round: list[int] = []
        self._open_square: list[int] = []
        for found in _TOKEN.finditer(prompt):
            self._add(found)

    def _add(self, found: re.Match[str]) -> None:
        text = found[0]
        if found.lastindex == _ESCAPED:
            self._put(_TEXT, found[_ESCAPED])
        elif text == "(":
            self._open_round.append(len(self.kinds))
            self._put(_OPEN_ROUND)
        elif text == "[":
            self._open_square.append(len(self.kinds))
            self._put(_OPEN_SQUARE)
        elif text == "]" and self._open_square:
            self._open_square.pop()
            self._put(_CLOSE_SQUARE)
        elif text == ")" and self._open_round:
            self._open_round.pop()
            self._put(_CLOSE_ROUND)
        elif found.lastindex == _WEIGHT and self._open_round:
            self._close_weighted(text)
        elif text != "\\":
            self._put_words(text)

    def _close_weighted(self, text: str) -> None:
        opening = self._open_round.pop()
        try:
            self.weights[opening] = float(text[1:-1])
        except ValueError:  # ":1.2.3)": the number is text, the bracket closes all the same
            self._put(_TEXT, text[:-1])
        self._put(_CLOSE_ROUND)

    def _put(self, kind: int, text: str = "") -> None:
        self.kinds.append(kind)
        self.texts.append(text)

    def _put_words(self, text: str) -> None:
        """A text, cut at the word BREAK; the white space around that word vanishes."""
        if BREAK not in text:
            self._put(_TEXT, text)
            return
        pieces = _BREAK_WORD.split(text)
        last = len(pieces) - 1
        for i, piece in enumerate(pieces):
            if i > 0:
                self._put(_BREAK, BREAK)
                piece = piece.lstrip()
            self._put(_TEXT, piece.rstrip() if i < last else piece)


def parse_attention(prompt: str) -> list[Span]:
    """Cut a prompt into spans of equal weight, brackets and escapes resolved; at least one span.

    Nested weights multiply. Brackets that are never closed reach to the end; closing ones without an opening
    one are text. Round and square brackets are matched independently of each other. A backslash takes the
    meaning from the bracket or backslash behind it and vanishes. A weight that is no number is text.
    """
    matched = _Matched(prompt)
    products = [1.0]  # of the explicit weights around the current place, one entry per open "("
    implicit: list[int] = []  # 1 for each open "(" without a weight
    brackets = 0  # net exponent of STEP at the current place
    neutral = 1.0  # what a text's weight is here
    texts: list[str] = []
    weights: list[float] = []
    for place, kind in enumerate(matched.kinds):
        if kind in (_TEXT, _BREAK):
            texts.append(matched.texts[place])
            weights.append(neutral if kind == _TEXT else _BREAK_WEIGHT * neutral)
            continue
        if kind == _OPEN_ROUND:
            weight = matched.weights.get(place)
            products.append(products[-1] if weight is None else _bounded(products[-1] * _bounded(weight)))
            implicit.append(1 if weight is None else 0)
            brackets += implicit[-1]
        elif kind == _CLOSE_ROUND:
            products.pop()
            brackets -= implicit.pop()
        else:
            brackets += 1 if kind == _CLOSE_SQUARE else -1
        neutral = _cut(products[-1] * _power(brackets))
    return _merge(texts, weights) or [Span("", 1.0)]


def _power(brackets: int) -> float:
    return float(STEP ** max(-_MOST_BRACKETS, min(_MOST_BRACKETS, brackets)))


def _bounded(product: float) -> float:
    return max(-_LARGEST_PRODUCT, min(_LARGEST_PRODUCT, product))


def _cut(weight: float) -> float:
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))


def _merge(texts: list[str], weights: list[float]) -> list[Span]:
    merged: list[Span] = []
    start = 0
    for end in range(1, len(texts) + 1):
        if end == len(texts) or weights[end] != weights[start]:
            merged.append(Span("".join(texts[start:end]), weights[start]))
            start = end
    return merged
