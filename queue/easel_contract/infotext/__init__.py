"""Infotext: the text in a picture that says how it was made, written and read.

Layout: the prompt (any number of lines); a line ``Negative prompt: …`` when there is one; one last line of
``Key: value`` pairs separated by commas. A value with a comma, colon or line break is written as JSON text.

`build` writes it, `parse` reads it, `apply_infotext` fills a request from it.
"""

from __future__ import annotations

from easel_contract.infotext.applying import apply_infotext
from easel_contract.infotext.reading import parse
from easel_contract.infotext.values import quote, unquote
from easel_contract.infotext.writing import KEYS, build, in_order

__all__ = ["KEYS", "apply_infotext", "build", "in_order", "parse", "quote", "unquote"]
