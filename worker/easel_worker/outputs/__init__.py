"""From arrays to files, infotexts and answers.

A handler makes a `Rendering` (pictures and what is to be told of them), `make_products` encodes it and puts
it in order, and a `Saver` stores it.
"""

from __future__ import annotations
