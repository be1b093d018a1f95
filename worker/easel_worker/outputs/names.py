"""File names and folders in the EAS SD-WebUI's style."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Names:
    """Names of one task's files, all with the time `when` (local) at which it was published.

    Pictures: ``txt2img-images/YYYY-MM-DD/HHMMSS-<uuid4>-<seed>.png``;
    the grid: ``txt2img-grids/YYYY-MM-DD/grid-HHMMSS-<uuid4>.png``.
    """

    kind: str
    """``txt2img`` or ``img2img``: the first part of the folder's name."""
    when: datetime

    def image(self, seed: int) -> str:
        """A fresh name for the picture of `seed`."""
        return f"{self.kind}-images/{self.when:%Y-%m-%d}/{self.when:%H%M%S}-{uuid.uuid4()}-{seed}.png"

    def grid(self) -> str:
        """A fresh name for the grid."""
        return f"{self.kind}-grids/{self.when:%Y-%m-%d}/grid-{self.when:%H%M%S}-{uuid.uuid4()}.png"
