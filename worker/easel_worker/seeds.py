"""Which seed each picture of a task gets."""

from __future__ import annotations

import secrets

RANDOM_SEEDS = 4294967294
"""Random seeds are 0 to 4294967293, as A1111 draws them (modules/processing.py, ``get_fixed_seed``)."""


def resolve_seeds(seed: int, count: int) -> tuple[int, ...]:
    """Seeds of `count` pictures: the first is `seed` (or a random one for -1), each next is one more.

    So picture i of a task equals a task of one picture with seed + i.
    """
    first = secrets.randbelow(RANDOM_SEEDS) if seed == -1 else seed
    return tuple(first + i for i in range(count))
