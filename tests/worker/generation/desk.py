"""A worker's handler without its queue: bodies in, pictures out, in the test's own process."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry

from easel_contract.events import Progress
from easel_contract.results import Outcome
from easel_queue import Reply, Task
from easel_worker.generation.plan import Plan
from easel_worker.handlers.answer import Rendered
from easel_worker.handlers.base import RunContext
from easel_worker.handlers.generation import GenerationHandler
from easel_worker.job import Job
from easel_worker.previews import PreviewImage
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

SMALL = {
    "prompt": "a red circle on a blue background",
    "seed": 7,
    "steps": 4,
    "width": 64,
    "height": 64,
    "sampler_name": "Euler",
}

Pixels = NDArray[np.uint8]


@dataclass
class Seen:
    """What a task told while it ran."""

    progress: list[Progress] = field(default_factory=list)
    previews: list[PreviewImage] = field(default_factory=list)


class Desk:
    """Takes request bodies, as the stages of a worker do one after the other.

    Fields that a test does not give are those of `SMALL`. Settings are the worker's.
    """

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        # Whatever else runs on this machine, what is cached stays.
        settings.setdefault("min_ram_reserved", 0)
        self.settings = WorkerSettings(data_dir=data_dir, torch_threads=1, device="cpu", **settings)
        self.handler = GenerationHandler(self.settings, Stats(CollectorRegistry()))
        self.handler.setup()
        self._tasks = 0

    @property
    def models(self) -> Path:
        return self.settings.data_dir / "models"

    def task(self, path: str = "/sdapi/v1/txt2img", **body: object) -> Task:
        self._tasks += 1
        data = json.dumps({**SMALL, **body}).encode()
        return Task(self._tasks, f"r{self._tasks}", 1, {}, {"path": path}, data, 0, 0, 1, 0, Reply.SINK)

    def plan(self, **body: Any) -> Plan:
        return self.handler.prepare(self.task(**body))

    def run(
        self, on_progress: Callable[[Job, Progress], None] | None = None, **body: Any
    ) -> tuple[Rendered, Seen]:
        """Render. `on_progress` may interrupt, skip or stop the job that it is told about."""
        task = self.task(**body)
        job, seen = Job(task), Seen()

        def progress(job: Job, told: Progress) -> None:
            seen.progress.append(told)
            if on_progress is not None:
                on_progress(job, told)

        context = RunContext(job, progress, lambda job, image: seen.previews.append(image))
        return self.handler.run(self.handler.prepare(task), context), seen

    def render(self, plan: Plan) -> Pixels:
        """The one picture of a task that is prepared already."""
        [picture] = pixels(self.handler.run(plan, RunContext(Job(self.task()), lambda job, told: None)))
        return picture

    def images(self, **body: Any) -> list[Pixels]:
        """The pictures of a request."""
        return pixels(self.run(**body)[0])

    def image(self, **body: Any) -> Pixels:
        [picture] = self.images(**body)
        return picture

    def answer(self, **body: Any) -> dict[str, Any]:
        """The result's body, with `info` decoded."""
        return self.decoded(self.handler.publish(self.task(**body), self.run(**body)[0]))

    def decoded(self, outcome: Outcome) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(outcome.data)
        return {**answer, "info": json.loads(answer["info"])}


def pixels(rendered: Rendered) -> list[Pixels]:
    return [np.asarray(shot.image) for shot in rendered.result.shots]


def infotext_of(picture: str) -> str:
    """What is written into a PNG of an answer."""
    return str(Image.open(io.BytesIO(base64.b64decode(picture))).info["parameters"])


def difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference of two pictures of one size, 0 to 255."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def largest_difference(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())
