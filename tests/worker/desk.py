"""A worker's handler without its queue: requests in, answers and pictures out, in the test's own process."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry

from easel_contract.events import Progress
from easel_contract.requests import IMG2IMG_PATH, TXT2IMG_PATH
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

BARE = {"steps": 4, "width": 64, "height": 64, "seed": 5, "cfg_scale": 5, "sampler_name": "Euler"}
"""Without a prompt, for random models."""

Pixels = NDArray[np.uint8]
Hear = Callable[[Job, Progress], None]


@dataclass
class Seen:
    """What a task told while it ran."""

    progress: list[Progress] = field(default_factory=list)
    previews: list[PreviewImage] = field(default_factory=list)


@dataclass
class Answer:
    """What the client gets."""

    body: dict[str, Any]
    seen: Seen = field(default_factory=Seen)

    @classmethod
    def of(cls, outcome: Outcome, seen: Seen | None = None) -> Answer:
        assert outcome.code == 200, outcome.data
        return cls(json.loads(outcome.data), seen or Seen())

    @property
    def images(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(base64.b64decode(text))) for text in self.body["images"]]

    @property
    def pixels(self) -> list[Pixels]:
        return [np.asarray(image.convert("RGB")) for image in self.images]

    @property
    def info(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body["info"])
        return told

    @property
    def steps(self) -> list[int]:
        """How many steps each pass through a sampler made."""
        return [p.sampling_step for p in self.seen.progress if p.stage == "decoding"]


class Desk:
    """Takes request bodies, as the stages of a worker do one after the other; bodies may hold pictures.

    Fields that a test does not give are those of `usual`. Settings are the worker's. One handler
    keeps its models, as a worker has it.
    """

    def __init__(self, data_dir: Path, usual: Mapping[str, object] = SMALL, **settings: Any) -> None:
        self.usual = usual
        self.settings = WorkerSettings(
            _env_file=None,  # type: ignore[call-arg] # pydantic-settings' own argument
            data_dir=data_dir,
            torch_threads=1,
            device="cpu",
            # Whatever else runs on this machine, what is cached stays.
            **{"min_ram_reserved": 0, **settings},
        )
        self.handler = GenerationHandler(self.settings, Stats(CollectorRegistry()))
        self._tasks = 0

    @property
    def models(self) -> Path:
        return self.settings.data_dir / "models"

    def task(self, path: str = TXT2IMG_PATH, **body: Any) -> Task:
        """A request as the queue hands it to a worker."""
        self._tasks += 1
        data = json.dumps(_texts({**self.usual, **body})).encode()
        return Task(self._tasks, f"r{self._tasks}", 1, {}, {"path": path}, data, 0, 0, 1, 0, Reply.SINK)

    def plan(self, path: str = TXT2IMG_PATH, **body: Any) -> Plan:
        return self.handler.prepare(self.task(path, **body))

    def txt2img(self, **body: Any) -> Answer:
        return self.answer(self.task(**body))

    def img2img(
        self,
        init: Image.Image | list[Image.Image] | None = None,
        on_progress: Hear | None = None,
        **body: Any,
    ) -> Answer:
        """An img2img of pictures."""
        if init is not None:
            body["init_images"] = init if isinstance(init, list) else [init]
        return self.answer(self.task(IMG2IMG_PATH, **body), on_progress)

    def answer(self, task: Task, on_progress: Hear | None = None) -> Answer:
        rendered, seen = self._run(task, on_progress)
        return Answer.of(self.handler.publish(task, rendered), seen)

    def run(self, on_progress: Hear | None = None, **body: Any) -> tuple[Rendered, Seen]:
        """txt2img up to its pictures. `on_progress` may interrupt, skip or stop the job it is told about."""
        return self._run(self.task(**body), on_progress)

    def images(self, **body: Any) -> list[Pixels]:
        """The pictures of a txt2img."""
        return pixels(self.run(**body)[0])

    def image(self, **body: Any) -> Pixels:
        [picture] = self.images(**body)
        return picture

    def draw(self, plan: Plan) -> Pixels:
        """The one picture of a task that is prepared already."""
        [picture] = pixels(self.handler.run(plan, RunContext(Job(self.task()), lambda job, told: None)))
        return picture

    def _run(self, task: Task, on_progress: Hear | None) -> tuple[Rendered, Seen]:
        job, seen = Job(task), Seen()

        def progress(job: Job, told: Progress) -> None:
            seen.progress.append(told)
            if on_progress:
                on_progress(job, told)

        context = RunContext(job, progress, lambda job, image: seen.previews.append(image))
        return self.handler.run(self.handler.prepare(task), context), seen


def pixels(rendered: Rendered) -> list[Pixels]:
    return [np.asarray(shot.image) for shot in rendered.result.shots]


def as_text(image: Image.Image) -> str:
    """A picture as requests hold it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


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


def _texts(value: Any) -> Any:
    if isinstance(value, Image.Image):
        return as_text(value)
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else value
