"""Folders and file names: the EAS SD-WebUI's, and A1111's."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from easel_worker.outputs.patterns import fill
from easel_worker.outputs.sanitising import safe_parts
from easel_worker.outputs.tokens import Subject


@dataclass(frozen=True)
class CloudNames:
    """Names of one task's files in the cloud's style, all with the time `when` (local) at which it ended.

    Pictures: ``txt2img-images/YYYY-MM-DD/HHMMSS-<uuid4>-<seed>``;
    the grid: ``txt2img-grids/YYYY-MM-DD/grid-HHMMSS-<uuid4>``. Endings come on top.
    """

    kind: str
    """``txt2img`` or ``img2img``: the first part of the folder's name."""
    when: datetime

    def image(self, seed: int) -> str:
        """A fresh name for the picture of `seed`."""
        return f"{self.kind}-images/{self.when:%Y-%m-%d}/{self.when:%H%M%S}-{uuid.uuid4()}-{seed}"

    def grid(self) -> str:
        """A fresh name for the grid."""
        return f"{self.kind}-grids/{self.when:%Y-%m-%d}/grid-{self.when:%H%M%S}-{uuid.uuid4()}"

    def masks(self) -> str:
        """The folder for control maps, which are numbered: ``controlnet_mask/YYYY-MM-DD``."""
        return f"controlnet_mask/{self.when:%Y-%m-%d}"


@dataclass(frozen=True)
class PatternName:
    """Where A1111's patterns put a picture.

    `folder` is relative to the folder of its kind, "" for that itself; `prefix` stands before the number and
    `decoration` behind it.
    """

    folder: str
    prefix: str
    decoration: str
    numbered: bool
    digits: int

    def stem(self, number: int | None) -> str:
        """The file's name without its ending."""
        parts = [
            self.prefix.rstrip("-"),
            "" if number is None else f"{number:0{self.digits}}",
            self.decoration,
        ]
        return "-".join(part for part in parts if part)


def sample_name(subject: Subject) -> PatternName:
    """``<date>/NNNNN-<seed>``, or what the patterns of the options say."""
    options = subject.options
    pattern = options.samples_filename_pattern
    if not pattern:
        pattern = "[seed]" if options.save_to_dirs else "[seed]-[prompt_spaces]"
    *folders, decoration = safe_parts(fill(pattern, subject)) or [""]
    return PatternName(
        folder="/".join([*_folders(subject, wanted=options.save_to_dirs), *folders]),
        prefix="",
        decoration=decoration,
        # A file needs some name.
        numbered=options.save_images_add_number or not decoration,
        digits=5,
    )


def grid_name(subject: Subject) -> PatternName:
    """``<date>/grid-NNNN``; with `grid_extended_filename` the seed and the prompt follow."""
    options = subject.options
    extended = safe_parts(fill("[seed]-[prompt_spaces]", subject)) if options.grid_extended_filename else []
    folders = _folders(subject, wanted=options.grid_save_to_dirs)
    return PatternName("/".join(folders), "grid-", "".join(extended[:1]), numbered=True, digits=4)


def _folders(subject: Subject, *, wanted: bool) -> list[str]:
    if not wanted:
        return []
    return safe_parts(fill(subject.options.directories_filename_pattern or "[prompt_words]", subject))
