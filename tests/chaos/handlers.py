"""What the workers of a chaos run serve: tasks that sleep a little, and some that fail on purpose.

Loaded by name with EASEL_HANDLERS, as an operator's own handler is; imports no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from easel_contract.errors import ContractError
from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.handlers.base import Handler, RunContext


@dataclass(frozen=True)
class Work:
    """One task: its number, how long to sleep, and whether this delivery fails."""

    number: int
    sleep_s: float
    breaks: bool


class SleepyHandler(Handler[Work, bytes]):
    """A body ``{"number": n, "sleep_s": s, "fails": k, "refused": false}`` sleeps `s` seconds, answers `n`.

    Its first `k` deliveries fail with an error of ours, which is retried; a refused one has a wrong body.
    """

    paths: ClassVar[tuple[str, ...]] = ("/chaos",)

    def prepare(self, task: Task) -> Work:
        body = json.loads(task.data)
        if body["refused"]:
            raise ContractError("this task is refused on purpose", field="refused")
        return Work(body["number"], body["sleep_s"], task.deliveries < body["fails"])

    def run(self, prepared: Work, ctx: RunContext) -> bytes:
        ctx.wait(prepared.sleep_s)
        if prepared.breaks:
            raise RuntimeError("this delivery fails on purpose")
        return json.dumps({"number": prepared.number}).encode()

    def publish(self, task: Task, output: bytes) -> Outcome:
        return Outcome(output)
