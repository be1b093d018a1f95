"""Comments in prompts."""

from __future__ import annotations


def strip_comments(prompt: str) -> str:
    """Remove ``#`` and what follows it on a line; lines that begin with ``#`` vanish whole.

    Colours such as ``#ff0000`` are comments too, as in A1111.
    """
    if "#" not in prompt:
        return prompt
    kept = []
    for line in prompt.split("\n"):
        text, mark, _ = line.partition("#")
        if text or not mark:
            kept.append(text)
    return "\n".join(kept)
