"""``POST /controlnet/render_openpose_json``: poses, drawn."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, ClassVar

from easel_contract.controlnet.poses import RENDER_POSE_PATH, Pose, parse_poses
from easel_contract.options import effective
from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.annotators import Pixels
from easel_worker.annotators.poses import draw_pose
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.outputs.encoding import encode

if TYPE_CHECKING:
    from easel_worker.settings import WorkerSettings
    from easel_worker.stats import Stats

DRAWN, EMPTY = "Success", "No pose data detected."


class PoseHandler(Handler[tuple[Pose, ...], tuple[Pixels, ...]]):
    """Serves the drawing of poses."""

    paths: ClassVar[tuple[str, ...]] = (RENDER_POSE_PATH,)

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self._limits = settings.limits()

    def prepare(self, task: Task) -> tuple[Pose, ...]:
        return parse_poses(task.data, self._limits)

    def run(self, prepared: tuple[Pose, ...], ctx: RunContext) -> tuple[Pixels, ...]:
        drawn: list[Pixels] = []
        for pose in prepared:
            ctx.check_cancelled()
            drawn.append(draw_pose(pose))
        return tuple(drawn)

    def publish(self, task: Task, output: tuple[Pixels, ...]) -> Outcome:
        options = effective(task.options)
        files = (encode(picture, "", "png", options) for picture in output)
        answer: dict[str, object] = {"info": EMPTY}
        if output:
            answer = {"info": DRAWN, "images": [base64.b64encode(file.data).decode() for file in files]}
        return Outcome(json.dumps(answer, separators=(",", ":")).encode())
