"""``POST /controlnet/detect``: what a preprocessor makes of pictures."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from easel_contract.controlnet import MODULES
from easel_contract.controlnet.detect import DETECT_PATH, DetectRequest, parse_detect
from easel_contract.errors import ContractError
from easel_contract.events import Progress
from easel_contract.options import RenderOptions, effective
from easel_contract.results import Outcome
from easel_queue import Task
from easel_worker.annotators import Annotation, Pixels
from easel_worker.annotators.annotators import ENCODERS
from easel_worker.annotators.plain.masks import INPAINT
from easel_worker.annotators.scribbles import drawing_of
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.handlers.networks import shared_networks
from easel_worker.imaging.masks import mask_from
from easel_worker.intake import Intake
from easel_worker.outputs.encoding import encode

if TYPE_CHECKING:
    from easel_worker.failure import Failure
    from easel_worker.settings import WorkerSettings
    from easel_worker.stats import Stats

NONE = "none"
FORMAT = "png"
"""Of the answer, whatever the service writes pictures as: a map is measured by the next program."""


Made = Annotation | str
"""A map, or an embedding as text."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture to be preprocessed. `module` is `none` where its mask is a drawing that stands for it."""

    module: str
    pixels: Pixels
    mask: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False)
class Detection:
    """What the prefetch stage has read, and made where it could."""

    request: DetectRequest
    subjects: tuple[Subject, ...]
    made: tuple[Made, ...] | None
    """None where the torch thread is to make them."""
    options: RenderOptions


@dataclass(frozen=True, eq=False)
class Detected:
    """What is to be answered."""

    detection: Detection
    made: tuple[Made, ...]


class DetectHandler(Handler[Detection, Detected]):
    """Serves detect. What needs no network is made in the prefetch stage, while the torch thread renders."""

    paths: ClassVar[tuple[str, ...]] = (DETECT_PATH,)

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self._limits = settings.limits()
        self._intake = Intake(self._limits.images)
        self._networks = shared_networks(settings)

    def prepare(self, task: Task) -> Detection:
        request = parse_detect(task.data, self._limits)
        annotators = self._networks.annotators
        annotators.check(request.controlnet_module, field="controlnet_module")
        subjects = tuple(
            self._open(request, number) for number in range(len(request.controlnet_input_images))
        )
        light = not any(annotators.needs_torch(subject.module) for subject in subjects)
        made = tuple(self._annotate(request, subject) for subject in subjects) if light else None
        return Detection(request, subjects, made, effective(task.options))

    def run(self, prepared: Detection, ctx: RunContext) -> Detected:
        if prepared.made is not None:
            return Detected(prepared, prepared.made)
        made: list[Made] = []
        count = len(prepared.subjects)
        for subject in prepared.subjects:
            ctx.check_cancelled()
            ctx.report(
                Progress(step=len(made), steps=count, image=len(made), images=count, ratio=len(made) / count)
            )
            with self._networks.job():
                made.append(self._annotate(prepared.request, subject))
        return Detected(prepared, tuple(made))

    def publish(self, task: Task, output: Detected) -> Outcome:
        request = output.detection.request
        maps = [made for made in output.made if isinstance(made, Annotation)]
        answer: dict[str, object] = {"info": "Success"}
        if maps:
            answer["images"] = [_encoded(made.shown, output.detection.options) for made in maps]
        if embeddings := [made for made in output.made if isinstance(made, str)]:
            answer["tensor"] = embeddings
        if poses := [pose.model_dump() for made in maps for pose in made.poses or ()]:
            answer["poses"] = poses
        if request.warnings:
            answer["warnings"] = list(request.warnings)
        return Outcome(json.dumps(answer, separators=(",", ":")).encode())

    def explain(self, error: Exception) -> Failure:
        return self._networks.explain(error)

    def free_memory(self) -> None:
        self._networks.free_memory()

    def unload(self) -> None:
        self._networks.free_memory()

    def _open(self, request: DetectRequest, number: int) -> Subject:
        """A picture and its mask.

        Raises:
            ContractError: 422, one of them cannot be opened, or their sizes differ.
        """
        field = f"controlnet_input_images.{number}"
        picture = self._intake.open(request.controlnet_input_images[number], field=field)
        mask = np.asarray(picture.getchannel("A")) if picture.mode == "RGBA" else None
        if number < len(request.controlnet_masks):
            place = f"controlnet_masks.{number}"
            opened = mask_from(
                self._intake.open(request.controlnet_masks[number], field=place), hard_alpha=False
            )
            if opened.size != picture.size:
                raise ContractError(
                    f"is {opened.width}x{opened.height} and its picture {picture.width}x{picture.height}; "
                    "they should be equal",
                    field=place,
                )
            mask = np.asarray(opened)
        pixels = np.asarray(picture.convert("RGB"))
        module = request.controlnet_module
        if module in INPAINT or MODULES[module].model_free or MODULES[module].tensor:
            return Subject(module, pixels, mask)
        drawing = drawing_of(mask)
        return Subject(module, pixels, None) if drawing is None else Subject(NONE, drawing, None)

    def _annotate(self, request: DetectRequest, subject: Subject) -> Made:
        if subject.module in ENCODERS:
            from easel_worker.annotators.embeddings import to_text

            return to_text(
                self._networks.annotators.embed(
                    subject.module, subject.pixels, mask=subject.mask, field="controlnet_module"
                )
            )
        return self._networks.annotators.run(
            subject.module,
            subject.pixels,
            mask=subject.mask,
            resolution=request.controlnet_processor_res,
            threshold_a=request.controlnet_threshold_a,
            threshold_b=request.controlnet_threshold_b,
            field="controlnet_module",
        )


def _encoded(shown: Pixels, options: RenderOptions) -> str:
    return base64.b64encode(encode(shown, "", FORMAT, options).data).decode()
