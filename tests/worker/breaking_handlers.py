"""Handlers that tests plug into a worker with EASEL_HANDLERS: each breaks in one way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.previews import PreviewImage
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats


def _raise_runtime() -> None:
    raise RuntimeError("a bolt came loose")


def _raise_memory() -> None:
    raise MemoryError


def _raise_recursion() -> None:
    _raise_recursion()


BREAKS: dict[bytes, Callable[[], None]] = {
    b"runtime": _raise_runtime,
    b"memory": _raise_memory,
    b"recursion": _raise_recursion,
}


class ObedientHandler(Handler[bytes, bytes]):
    """Notes in which order its task and orders reach it. Its task runs until `gate` is set."""

    paths: ClassVar[tuple[str, ...]] = ("/obey",)
    gate = threading.Event()
    noted: ClassVar[list[str]] = []
    reloaded = threading.Event()

    def prepare(self, task: Task) -> bytes:
        return task.data

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        self.gate.wait(60)
        self.noted.append("task")
        return prepared

    def publish(self, task: Task, output: bytes) -> Outcome:
        return Outcome(output)

    def unload(self) -> None:
        self.noted.append("unload")
        raise RuntimeError("a bolt came loose")

    def reload(self, checkpoint: str) -> None:
        self.noted.append(f"reload {checkpoint}")
        self.reloaded.set()


class BreakingHandler(Handler[bytes, bytes]):
    """Breaks in the stage that the path names, in the way that the body names; any other body is echoed."""

    paths: ClassVar[tuple[str, ...]] = ("/break/prepare", "/break/run", "/break/publish")

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self.freed = 0

    def prepare(self, task: Task) -> bytes:
        return self._do(task.data, task.meta["path"] == "/break/prepare") + task.meta["path"].encode()

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        data, _, stage = prepared.partition(b"/break/")
        return self._do(data, stage == b"run")

    def publish(self, task: Task, output: bytes) -> Outcome:
        return Outcome(self._do(output, task.meta["path"] == "/break/publish"))

    def free_memory(self) -> None:
        self.freed += 1

    def _do(self, data: bytes, here: bool) -> bytes:
        if here and data in BREAKS:
            BREAKS[data]()
        return data


class LongNameHandler(BreakingHandler):
    """Breaks while it runs; its tasks' ids are long, and echoed in the failure."""

    paths: ClassVar[tuple[str, ...]] = ("/long-name",)

    def prepare(self, task: Task) -> bytes:
        return task.data + b"/break/run"

    def id_task(self, prepared: bytes) -> str:
        return "n" * 3 * 4096


class GateHandler(Handler[bytes, bytes]):
    """Runs until its test opens the gate; tells when it began and, if it is stopped, why."""

    paths: ClassVar[tuple[str, ...]] = ("/gate",)
    began: ClassVar[threading.Event] = threading.Event()
    gate: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def reset(cls) -> None:
        cls.began.clear()
        cls.gate.clear()

    def prepare(self, task: Task) -> bytes:
        return task.data

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        self.began.set()
        while not self.gate.wait(0.01):
            ctx.check_cancelled()
        return prepared

    def publish(self, task: Task, output: bytes) -> Outcome:
        return Outcome(output)


class PreviewHandler(GateHandler):
    """Shows a preview of 24 x 16 pixels in the format that the body names, then waits at the gate."""

    paths: ClassVar[tuple[str, ...]] = ("/preview",)

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        kind: Any = prepared.decode()
        ctx.preview(PreviewImage(np.full((16, 24, 3), 200, np.uint8), kind))
        return super().run(prepared, ctx)


class WarmGateHandler(GateHandler):
    """A gate with a model at hand."""

    def at_hand(self) -> Sequence[str]:
        return ("checkpoint:warm",)


class BrokenSetupHandler(GateHandler):
    """Cannot start."""

    paths: ClassVar[tuple[str, ...]] = ("/never",)

    def setup(self) -> None:
        raise RuntimeError("no such device")


class BatchHandler(GateHandler):
    """Renders what it is given at once, and notes how much that was. Of a batch it leaves out the tasks whose
    body is `alone`, and one with a body `break` breaks whatever it is in. `heard`: that a part of a batch is
    to stop."""

    paths: ClassVar[tuple[str, ...]] = ("/batch",)
    noted: ClassVar[list[list[bytes]]] = []
    heard: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def reset(cls) -> None:
        super().reset()
        cls.heard.clear()
        cls.noted.clear()

    def run(self, prepared: bytes, ctx: RunContext) -> bytes:
        return self._at_once([prepared], [ctx])[0]

    def run_together(
        self, prepared: Sequence[bytes], contexts: Sequence[RunContext]
    ) -> Sequence[bytes | None]:
        outputs = self._at_once(prepared, contexts)
        return [
            None if body == b"alone" or ctx.job.stop_reason else output
            for body, ctx, output in zip(prepared, contexts, outputs, strict=True)
        ]

    def _at_once(self, prepared: Sequence[bytes], contexts: Sequence[RunContext]) -> Sequence[bytes]:
        self.noted.append(list(prepared))
        self.began.set()
        while not self.gate.wait(0.01):
            stopped = [ctx for ctx in contexts if ctx.job.stop_reason]
            if len(stopped) == len(contexts):
                contexts[0].check_cancelled()
            elif stopped:
                self.heard.set()
        if b"break" in prepared:
            _raise_runtime()
        return prepared
