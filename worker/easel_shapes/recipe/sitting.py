"""One sitting of a training: how far it is, what it says while it runs, and what it leaves on the disk."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SAVE_EVERY_S = 120.0


@dataclass(frozen=True)
class Budget:
    """How long a stage trains: until all its sittings have made `steps`, or for `minutes` in this one."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("a budget is either steps or minutes")


class Sitting:
    """Progress through a budget; `before` steps were made in earlier sittings.

    With steps the same seed gives the same model; with minutes the learning rate follows the clock, so that a
    sitting of any length ends with a small one.
    """

    def __init__(self, name: str, budget: Budget, *, before: int = 0, quiet: bool = False) -> None:
        self._name, self._quiet = name, quiet
        self._steps, self._before = budget.steps, before
        self._seconds = None if budget.minutes is None else budget.minutes * 60
        self._started = time.monotonic()
        self._said = self._started
        self._smooth: float | None = None
        self.done = 0
        self.first_loss: float | None = None
        if self.part >= 1 and not quiet:
            print(f"{name}: all {budget.steps} planned steps are done; --minutes trains on", file=sys.stderr)

    @property
    def part(self) -> float:
        """How much of the budget is used up, 0 to 1."""
        if self._steps is not None:
            return min(1.0, (self._before + self.done) / max(1, self._steps))
        assert self._seconds is not None  # noqa: S101 - a budget has one of the two
        return min(1.0, (time.monotonic() - self._started) / max(1e-9, self._seconds))

    @property
    def loss(self) -> float:
        """The running mean of the last hundred losses or so."""
        return float("nan") if self._smooth is None else self._smooth

    def count(self, loss: float, note: str = "") -> None:
        """One more step is done. Every ten seconds a line tells the loss and the time left."""
        self.done += 1
        self._smooth = loss if self._smooth is None else 0.99 * self._smooth + 0.01 * loss
        if self.done == 20:
            self.first_loss = self._smooth
        now = time.monotonic()
        if not self._quiet and (now - self._said >= 10 or self.part >= 1):
            self._said = now
            used = now - self._started
            left = self._seconds - used if self._seconds else used / self.done * self._steps_left()
            print(
                f"{self._name}: {100 * self.part:5.1f} %  step {self.done}  loss {self._smooth:.4f}"
                f"  {used / self.done:.3f} s/step  {left / 60:.1f} min left  {note}",
                file=sys.stderr,
                flush=True,
            )

    def _steps_left(self) -> int:
        return max(0, (self._steps or 0) - self._before - self.done)


def rate(part: float, step: int, *, peak: float, warm_up: int = 200, flat: float = 0.5) -> float:
    """The learning rate: linear warm-up, constant for the first `flat` of the sitting, then linear to 1 %."""
    decay = 1.0 if part < flat else max(0.01, (1 - part) / (1 - flat))
    return peak * decay * min(1.0, (step + 1) / warm_up)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; a crash in between leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state that an earlier sitting left, or None."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
