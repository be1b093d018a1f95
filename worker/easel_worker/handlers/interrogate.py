"""``POST /sdapi/v1/interrogate``: what is in a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.events import Progress
from easel_contract.extras import INTERROGATE_PATH, parse_interrogate
from easel_contract.options import RenderOptions, effective
from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.handlers.networks import shared_networks
from easel_worker.intake import Intake
from easel_worker.interrogate.folders import check

if TYPE_CHECKING:
    from easel_worker.failure import Failure
    from easel_worker.settings import WorkerSettings
    from easel_worker.stats import Stats

CLIP, DEEPDANBOORU = "clip", "deepdanbooru"
"""A1111's two models. The second one's network exists only as a program of its own, which Easel has not."""


@dataclass(frozen=True)
class Question:
    """A decoded picture, and the service's options that say how it is described."""

    picture: Image.Image
    options: RenderOptions


class InterrogateHandler(Handler[Question, str]):
    """Serves the interrogate call."""

    paths: ClassVar[tuple[str, ...]] = (INTERROGATE_PATH,)

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self._limits = settings.limits()
        self._intake = Intake(self._limits.images)
        self._networks = shared_networks(settings)

    def prepare(self, task: Task) -> Question:
        request = parse_interrogate(task.data, self._limits)
        if request.model == DEEPDANBOORU:
            raise ContractError(
                "'deepdanbooru' is not built into Easel; use 'clip'",
                field="model",
                status=501,
                kind="not_installed",
            )
        if request.model != CLIP:
            raise ContractError("Model not found", status=404, kind="not_found")
        check(self.settings.data_dir / "models")
        return Question(self._intake.open(request.image, field="image"), effective(task.options))

    def run(self, prepared: Question, ctx: RunContext) -> str:
        ctx.check_cancelled()
        ctx.report(Progress(stage="loading"))
        options = prepared.options
        with self._networks.job():
            return self._networks.interrogator.describe(
                prepared.picture,
                min_length=options.interrogate_clip_min_length,
                max_length=options.interrogate_clip_max_length,
                beams=options.interrogate_clip_num_beams,
                lines=options.interrogate_clip_dict_limit,
                skipped=options.interrogate_clip_skip_categories,
            )

    def publish(self, task: Task, output: str) -> Outcome:
        return Outcome(json.dumps({"caption": output}, ensure_ascii=False).encode())

    def explain(self, error: Exception) -> Failure:
        return self._networks.explain(error)

    def free_memory(self) -> None:
        self._networks.free_memory()

    def unload(self) -> None:
        self._networks.free_memory()
