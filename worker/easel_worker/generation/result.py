"""What comes out of a generation, before anything is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image

from easel_worker.generation.job import Job, Picture


@dataclass(frozen=True)
class Shot:
    """A finished picture, and what it was made of.

    image: "RGB". facts: what the infotext tells besides the job's own fields, in order.
    """

    image: Image.Image
    picture: Picture
    job: Job
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Result:
    """Everything that one request made.

    grids: a script's own pictures of many pictures, shown in front; then no other grid is made. extras:
    pictures shown behind, without a seed of their own: masks, and states before a later stage. show_shots:
    whether the shots themselves are shown beside the grids. facts: what the grids' infotexts tell of the
    script. interrupted: there would have been more.
    """

    shots: list[Shot]
    grids: list[Image.Image] = field(default_factory=list)
    extras: list[Image.Image] = field(default_factory=list)
    show_shots: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)
    interrupted: bool = False


Generate = Callable[[Job], Result]
"""Renders one job. What is interrupted comes out as far as it got."""
