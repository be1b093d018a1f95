"""Answers with its own body: the operator's round trip, and what benchmarks and chaos tests run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import ClassVar

from easel_contract.errors import ContractError
from easel_contract.events import Progress
from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.handlers.base import Handler, RunContext

MAX_SLEEP_S = 3600.0
MAX_STEPS = 10_000


@dataclass(frozen=True)
class Echo:
    """A body, and how long to hold it: `sleep_s` seconds in `steps` slices."""

    data: bytes
    sleep_s: float = 0.0
    steps: int = 1


class EchoHandler(Handler[Echo, bytes]):
    """A JSON object with ``sleep_s`` (seconds) and ``steps`` is held that long, reporting progress and
    checking for a cancel at every step; any other body comes back at once. An interrupt or a skip ends the
    wait: the body comes back."""

    paths: ClassVar[tuple[str, ...]] = ("/easel/v1/echo",)

    def prepare(self, task: Task) -> Echo:
        try:
            body = json.loads(task.data)
        except (ValueError, RecursionError):
            return Echo(task.data)
        if not isinstance(body, dict):
            return Echo(task.data)
        sleep_s = _number(body, "sleep_s", 0.0, MAX_SLEEP_S)
        steps = _number(body, "steps", 1, MAX_STEPS)
        return Echo(task.data, sleep_s, max(1, int(steps)))

    def run(self, prepared: Echo, ctx: RunContext) -> bytes:
        if prepared.sleep_s > 0:
            for step in range(1, prepared.steps + 1):
                ctx.wait(prepared.sleep_s / prepared.steps)
                if ctx.interrupted or ctx.take_skip():
                    break
                ctx.report(_progress(step, prepared))
        return prepared.data

    def publish(self, task: Task, output: bytes) -> Outcome:
        return Outcome(output, 200)


def _number(body: dict[str, object], field: str, default: float, limit: float) -> float:
    value = body.get(field, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ContractError("use a number of seconds or steps", field=field)
    if not math.isfinite(value) or not 0 <= value <= limit:
        raise ContractError(f"use 0 to {limit:g}", field=field)
    return value


def _progress(step: int, echo: Echo) -> Progress:
    left = echo.steps - step
    return Progress(
        step=step,
        steps=echo.steps,
        image=int(left == 0),
        ratio=step / echo.steps,
        sampling_step=step,
        sampling_steps=echo.steps,
        eta_s=echo.sleep_s * left / echo.steps,
    )
