"""Prompt editing and alternation: ``[from:to:when]`` and ``[a|b]``, texts that change while a picture forms.

The prompt becomes a tree in one pass, and the text of a step is read off the tree; both without recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_SPECIAL = re.compile(r"[\\()\[\]:|]")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True)
class PromptSteps:
    """How many times the model will be called, which is what an edit's `when` counts.

    steps: calls of the (first) pass: the requested steps, twice as many for second-order samplers.
    hires_steps: calls of the hires pass, where the schedule is for that one. old: A1111's option
    use_old_scheduling: below 1 is a fraction, everything else a step of the first pass.
    """

    steps: int
    hires_steps: int | None = None
    old: bool = False

    @property
    def total(self) -> int:
        """Calls of the pass that the schedule is for."""
        return self.steps if self.hires_steps is None or self.old else self.hires_steps

    def switch(self, when: str) -> int:
        """The last call of this pass, counted from 1, that still sees the text before; 0 for none.

        A number with a dot is a fraction of the steps, others count steps. In the hires pass fractions from
        1 to 2 and steps beyond the first pass's are meant; what lies before is over.
        """
        value = float(when)
        later = self.hires_steps is not None and not self.old
        if value < 1 if self.old else "." in when:
            value = (value - (1 if later else 0)) * self.total
        elif later:
            value -= self.steps
        # Compared before int(): an exponent can make it infinite.
        return int(max(0.0, min(float(self.total), value)))


@dataclass(frozen=True)
class Phase:
    """`text` is the prompt up to and including call `until`, counted from 1."""

    until: int
    text: str


def schedule(prompt: str, steps: PromptSteps) -> list[Phase]:
    """The texts that a prompt stands for, in the order in which they act; the last acts to the end.

    An alternation gives a phase to every call, even where two neighbours have the same text. Brackets that
    fit none of the forms stay in the text, for `parse_attention` to read; so do backslashes.
    """
    if "[" not in prompt or "]" not in prompt:
        return [Phase(steps.total, prompt)]
    root = _parse(prompt, steps)
    return [Phase(until, _text_at(root, until)) for until in _boundaries(root, steps.total)]


def active(phases: list[Phase], call: int) -> int:
    """The phase of a model call counted from 0: A1111 takes the first whose `until` is `call` or more.

    So an edit after step n is seen from call n + 1 on, one later than the count of steps suggests.
    """
    low, high = 0, len(phases) - 1
    while low < high:
        middle = (low + high) // 2
        if phases[middle].until < call:
            low = middle + 1
        else:
            high = middle
    return low


@dataclass(slots=True)
class _Edit:
    before: list[_Node]
    after: list[_Node]
    when: int


@dataclass(slots=True)
class _Choice:
    options: list[list[_Node]]


@dataclass(slots=True)
class _Group:
    """Brackets that are kept, with what is between them."""

    nodes: list[_Node]


_Node = str | _Edit | _Choice | _Group


@dataclass(slots=True)
class _Open:
    """A bracket that waits for its partner: its content, cut at the colons or bars on its own level."""

    bracket: str
    parts: list[list[_Node]] = field(default_factory=lambda: [[]])
    marks: list[str] = field(default_factory=list)

    def mark(self, letter: str) -> None:
        self.marks.append(letter)
        self.parts.append([])

    def literal(self) -> list[_Node]:
        """Everything that came since, and the bracket itself, as text."""
        nodes: list[_Node] = [self.bracket, *self.parts[0]]
        for letter, part in zip(self.marks, self.parts[1:], strict=True):
            nodes.append(letter)
            nodes += part
        return nodes


def _parse(prompt: str, steps: PromptSteps) -> list[_Node]:
    root: list[_Node] = []
    opened: list[_Open] = []

    def here() -> list[_Node]:
        return opened[-1].parts[-1] if opened else root

    def loosen(letter: str) -> None:
        # A bracket without a meaning makes all that are open around it text.
        for bracket in opened:
            root.extend(bracket.literal())
        opened.clear()
        root.append(letter)

    for piece in _scan(prompt):
        if piece in ("(", "["):
            opened.append(_Open(piece))
        elif piece in (":", "|") and opened:
            opened[-1].mark(piece)
        elif piece in (")", "]") and opened:
            node = _close(opened[-1], piece, steps)
            if node is None:
                loosen(piece)
            else:
                opened.pop()
                here().append(node)
        else:
            here().append(piece)
    for bracket in opened:
        root.extend(bracket.literal())
    return root


def _scan(prompt: str) -> Iterator[str]:
    place = 0
    while place < len(prompt):
        found = _SPECIAL.search(prompt, place)
        if found is None:
            yield prompt[place:]
            return
        if found.start() > place:
            yield prompt[place : found.start()]
        place = found.end()
        if found[0] == "\\":
            # Together with what it protects; attention resolves it later.
            place += 1
            yield prompt[found.start() : place]
        else:
            yield found[0]


def _close(bracket: _Open, closing: str, steps: PromptSteps) -> _Node | None:
    """What a pair of brackets means; None where it fits no form."""
    if bracket.bracket == "(":
        # "(text)" and "(text:1.3)" belong to attention.
        fits = closing == ")" and bracket.marks in ([], [":"])
        return _Group([*bracket.literal(), ")"]) if fits else None
    if closing != "]":
        return None
    if not bracket.marks:
        return _Group([*bracket.literal(), "]"])
    if set(bracket.marks) == {"|"}:
        return _Choice(bracket.parts)
    when = "".join(node for node in bracket.parts[-1] if isinstance(node, str))
    number = _NUMBER.fullmatch(when)
    if bracket.marks not in ([":"], [":", ":"]) or number is None:
        return None
    if not all(isinstance(node, str) for node in bracket.parts[-1]):
        return None
    before = bracket.parts[0] if len(bracket.parts) == 3 else []
    return _Edit(before, bracket.parts[-2], steps.switch(number[1]))


def _boundaries(root: list[_Node], total: int) -> list[int]:
    """The calls after which the text may change, and the last."""
    found = {total}
    waiting = [root]
    while waiting:
        for node in waiting.pop():
            if isinstance(node, _Edit):
                if node.when >= 1:
                    found.add(node.when)
                waiting += [node.before, node.after]
            elif isinstance(node, _Choice):
                found.update(range(1, total + 1))
                waiting += node.options
            elif isinstance(node, _Group):
                waiting.append(node.nodes)
    return sorted(found)


def _text_at(root: list[_Node], step: int) -> str:
    """The prompt at a step, counted from 1."""
    texts: list[str] = []
    walks = [iter(root)]
    while walks:
        node = next(walks[-1], None)
        if node is None:
            walks.pop()
        elif isinstance(node, str):
            texts.append(node)
        elif isinstance(node, _Edit):
            walks.append(iter(node.before if step <= node.when else node.after))
        elif isinstance(node, _Choice):
            walks.append(iter(node.options[(step - 1) % len(node.options)]))
        else:
            walks.append(iter(node.nodes))
    return "".join(texts)
