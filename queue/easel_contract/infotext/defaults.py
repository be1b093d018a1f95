"""What an infotext means by leaving a key out."""

from __future__ import annotations

import re

DEFAULTS: dict[str, object] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}
"""Added by the reader, with A1111's mixture of text and numbers."""

EMPHASIS = "Original"
"""The mode of a text with emphasis that names none."""

_TOKEN = re.compile(r"\\.|[(\[]|:\s*([+-]?[\d.]+)\s*\)|[)\]]|[^\\()\[\]:]+|[\\:]", re.DOTALL)


def uses_emphasis(prompt: str) -> bool:
    """Whether any part of the prompt has a weight: text in brackets, ``\\(`` escaped ones and ``(…:1)``
    aside.

    A bracket that is never closed counts, as in the renderer's grammar.
    """
    filled: list[bool] = []  # for each open bracket: whether text stands in it
    for match in _TOKEN.finditer(prompt):
        token = match[0]
        if token in ("(", "["):
            filled.append(False)
        elif match[1] is not None and filled:
            inside = filled.pop()
            if inside and match[1] not in ("1", "1.0"):
                return True
            if inside and filled:
                filled[-1] = True
        elif token in (")", "]") and filled:
            if filled.pop():
                return True
        elif filled:
            filled[-1] = True
    return any(filled)
