"""The inference service behind the acceptance tests, plugged into a real worker by EASEL_HANDLERS."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.handlers.base import Handler, RunContext


class ListHandler(Handler[list[Any], list[Any]]):
    """What the SDK's tests expect of their service: a JSON list comes back with two entries for each element.

    Anything else counts as a list of one. On the path of tasks without one: the SDK puts to the bare service.
    """

    paths: ClassVar[tuple[str, ...]] = ("/sdapi/v1/txt2img",)

    def prepare(self, task: Task) -> list[Any]:
        body = json.loads(task.data)
        return body if isinstance(body, list) else [body]

    def run(self, prepared: list[Any], ctx: RunContext) -> list[Any]:
        return [{"input": element, "output": "seen"} for element in prepared]

    def publish(self, task: Task, output: list[Any]) -> Outcome:
        return Outcome(json.dumps(output).encode())


class TurningHandler(Handler[bytes, bytes]):
    """The body backwards, whatever its bytes are: shows that a service had it."""

    paths: ClassVar[tuple[str, ...]] = ("/acceptance/turn",)

    def prepare(self, task: Task) -> bytes:
        return task.data

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        return prepared[::-1]

    def publish(self, task: Task, output: bytes) -> Outcome:
        return Outcome(output)


class SilentHandler(TurningHandler):
    """An empty reply."""

    paths: ClassVar[tuple[str, ...]] = ("/acceptance/silent",)

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        return b""
