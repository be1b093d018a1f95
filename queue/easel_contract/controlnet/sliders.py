"""The numbers that a preprocessor takes beside its picture."""

from __future__ import annotations

from dataclasses import dataclass

USUAL_BEFORE = 64.0
"""What both thresholds were when their API was new. Clients still send it where nobody chose anything, so it
says nothing to a module whose sliders do not reach it."""


@dataclass(frozen=True)
class Slider:
    """One number: its range with both ends, the step of A1111's page, and what it is where none is sent."""

    name: str
    minimum: float
    maximum: float
    default: float
    step: float

    def settle(self, value: float) -> float | None:
        """What is used for `value`: itself, or the default where it says nothing; None where it is out of
        range."""
        if value < 0:
            return self.default
        if self.minimum <= value <= self.maximum:
            return value
        return self.default if value == USUAL_BEFORE else None

    def clamp(self, value: float) -> float:
        """The nearest value that it takes."""
        return min(max(value, self.minimum), self.maximum)
