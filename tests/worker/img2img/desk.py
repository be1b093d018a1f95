"""A worker's handler without a queue around it: a body in, the client's answer out."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from prometheus_client import CollectorRegistry

from easel_contract.events import Progress
from easel_contract.requests import IMG2IMG_PATH, TXT2IMG_PATH
from easel_queue import Task
from easel_worker.handlers.base import RunContext
from easel_worker.handlers.generation import GenerationHandler
from easel_worker.job import Job
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

SMALL = {"steps": 4, "width": 64, "height": 64, "seed": 5, "cfg_scale": 5, "sampler_name": "Euler"}


@dataclass
class Answer:
    """What the client gets."""

    body: dict[str, Any]
    progress: list[Progress] = field(default_factory=list)

    @property
    def images(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(base64.b64decode(text))) for text in self.body["images"]]

    @property
    def pixels(self) -> list[np.ndarray]:
        return [np.asarray(image.convert("RGB")) for image in self.images]

    @property
    def info(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body["info"])
        return told

    @property
    def steps(self) -> list[int]:
        """How many steps each pass through a sampler made."""
        return [p.sampling_step for p in self.progress if p.stage == "decoding"]


class Desk:
    """One handler that keeps its models, as a worker has it."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.settings = WorkerSettings(
            _env_file=None,  # type: ignore[call-arg] # pydantic-settings' own argument
            data_dir=data_dir,
            device="cpu",
            torch_threads=1,
            **settings,
        )
        self.handler = GenerationHandler(self.settings, Stats(CollectorRegistry()))
        self.handler.setup()

    def img2img(self, init: Image.Image | list[Image.Image] | None = None, **fields: Any) -> Answer:
        """An img2img of pictures; `fields` may hold pictures too."""
        if init is not None:
            fields["init_images"] = init if isinstance(init, list) else [init]
        return self.render(IMG2IMG_PATH, fields)

    def txt2img(self, **fields: Any) -> Answer:
        return self.render(TXT2IMG_PATH, fields)

    def render(
        self, path: str, fields: dict[str, Any], on_progress: Callable[[Job, Progress], None] | None = None
    ) -> Answer:
        """Prepare, run and publish, as the stages of a worker do one after the other."""
        task = task_of(path, fields)
        seen: list[Progress] = []

        def hear(job: Job, progress: Progress) -> None:
            seen.append(progress)
            if on_progress is not None:
                on_progress(job, progress)

        prepared = self.handler.prepare(task)
        output = self.handler.run(prepared, RunContext(Job(task), hear))
        outcome = self.handler.publish(task, output)
        assert outcome.code == 200, outcome.data
        return Answer(json.loads(outcome.data), seen)


def task_of(path: str, fields: dict[str, Any]) -> Task:
    """A small request as the queue hands it to a worker; `fields` may hold pictures."""
    body = json.dumps(_texts({**SMALL, **fields})).encode()
    return Task(1, "request", 1, {}, {"path": path}, body, 0, 0, 1, 0)


def as_text(image: Image.Image) -> str:
    """A picture as requests hold it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _texts(value: Any) -> Any:
    if isinstance(value, Image.Image):
        return as_text(value)
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else value
