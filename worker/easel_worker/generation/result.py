"""What comes out of a generation, before anything is encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from PIL import Image

from easel_worker.generation.job import Job, Picture


@dataclass(frozen=True)
class Drawn:
    """A picture, "RGB", and earlier states of it that options want to be stored beside it, by the suffix of
    their names (``before-highres-fix``)."""

    image: Image.Image
    copies: Mapping[str, Image.Image] = field(default_factory=dict)

    def now(self, image: Image.Image) -> Drawn:
        """The picture in its next state."""
        return Drawn(image, self.copies)

    def keeping(self, suffix: str, image: Image.Image | None = None) -> Drawn:
        """With the present state, or another picture, kept under a suffix."""
        return Drawn(self.image, {**self.copies, suffix: self.image if image is None else image})


@dataclass(frozen=True)
class Shot:
    """A finished picture, and what it was made of.

    image: "RGB". facts: what the infotext tells besides the job's own fields, in order. copies: see `Drawn`.
    whole: False where an interrupt or a skip ended it on the way.
    """

    image: Image.Image
    picture: Picture
    job: Job
    facts: Mapping[str, object] = field(default_factory=dict)
    copies: Mapping[str, Image.Image] = field(default_factory=dict)
    whole: bool = True


@dataclass
class Result:
    """Everything that one request made.

    grids: a script's own pictures of many pictures, shown in front; then no other grid is made. extras:
    pictures shown behind, without a seed of their own: masks, and states before a later stage. show_shots:
    whether the shots themselves are shown beside the grids. facts: what the grids' infotexts tell of the
    script. interrupted: there would have been more. maps: what control networks followed, shown last.
    """

    shots: list[Shot]
    grids: list[Image.Image] = field(default_factory=list)
    extras: list[Image.Image] = field(default_factory=list)
    show_shots: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)
    interrupted: bool = False
    maps: list[Image.Image] = field(default_factory=list)

    def show(self, maps: Iterable[Image.Image]) -> None:
        """Add control maps, each once, however many batches it was for."""
        shown = {id(image) for image in self.maps}
        self.maps += [image for image in maps if id(image) not in shown]


Generate = Callable[[Job], Result]
"""Renders one job. What is interrupted comes out as far as it got."""
