"""``POST /sdapi/v1/extra-single-image`` and ``extra-batch-images``: pictures enlarged, faces restored."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from easel_contract.events import Progress
from easel_contract.extras import (
    BATCH_PATH,
    SINGLE_PATH,
    ExtrasRequest,
    parse_extras_batch,
    parse_extras_single,
)
from easel_contract.options import RenderOptions, effective
from easel_contract.results import Outcome
from easel_contract.upscalers import find_upscaler
from easel_queue import Task
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.handlers.networks import shared_networks
from easel_worker.intake import Intake
from easel_worker.outputs.encoding import encode
from easel_worker.upscaling.postprocess import blends, describe, enlarge, enlarged_size, enlarges
from easel_worker.upscaling.upscalers import Size

if TYPE_CHECKING:
    from easel_worker.failure import Failure
    from easel_worker.settings import WorkerSettings
    from easel_worker.stats import Stats


INFOTEXT = "parameters"
"""The text chunk that tells how a picture was made."""


@dataclass(frozen=True)
class Extras:
    """Decoded pictures, the size that each gets, and what is done to all of them."""

    request: ExtrasRequest
    single: bool
    pictures: tuple[Image.Image, ...]
    sizes: tuple[Size, ...]
    options: RenderOptions
    """The service's, for the upscalers' tiles and the format of the answer."""


@dataclass(frozen=True)
class Processed:
    """What left the torch thread."""

    extras: Extras
    pictures: tuple[Image.Image, ...]


class ExtrasHandler(Handler[Extras, Processed]):
    """Serves both extras calls."""

    paths: ClassVar[tuple[str, ...]] = (SINGLE_PATH, BATCH_PATH)

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self._limits = settings.limits()
        self._intake = Intake(self._limits.images)
        self._networks = shared_networks(settings)

    def prepare(self, task: Task) -> Extras:
        single = task.meta.get("path", "").rstrip("/").endswith(SINGLE_PATH)
        request: ExtrasRequest
        if single:
            request = parse_extras_single(task.data, self._limits)
            texts = {"image": request.image}
        else:
            request = parse_extras_batch(task.data, self._limits)
            texts = {f"imageList.{number}.data": item.data for number, item in enumerate(request.imageList)}
        self._check_names(request)
        pictures = tuple(self._intake.open(text, field=field) for field, text in texts.items())
        most = self._limits.images.max_pixels
        sizes = tuple(enlarged_size(picture.size, request, max_pixels=most) for picture in pictures)
        return Extras(request, single, pictures, sizes, effective(task.options))

    def run(self, prepared: Extras, ctx: RunContext) -> Processed:
        done: list[Image.Image] = []
        count = len(prepared.pictures)
        for picture, size in zip(prepared.pictures, prepared.sizes, strict=True):
            ctx.check_cancelled()
            ctx.report(
                Progress(step=len(done), steps=count, image=len(done), images=count, ratio=len(done) / count)
            )
            with self._networks.job():
                done.append(self._process(prepared, picture, size, ctx))
        return Processed(prepared, tuple(done))

    def publish(self, task: Task, output: Processed) -> Outcome:
        told = describe(output.extras.request)
        images = [
            _encode(
                picture, _texts(source) | ({"postprocessing": told} if told else {}), output.extras.options
            )
            for source, picture in zip(output.extras.pictures, output.pictures, strict=True)
        ]
        answer: dict[str, object] = {"html_info": f"<p>{html.escape(told)}</p>"}
        answer |= {"image": images[0]} if output.extras.single else {"images": images}
        return Outcome(json.dumps(answer, separators=(",", ":")).encode())

    def explain(self, error: Exception) -> Failure:
        return self._networks.explain(error)

    def free_memory(self) -> None:
        self._networks.free_memory()

    def unload(self) -> None:
        self._networks.free_memory()

    def _check_names(self, request: ExtrasRequest) -> None:
        """Refuse in the prefetch stage what no file is there for."""
        models = self.settings.data_dir / "models"
        if enlarges(request):
            find_upscaler(models, request.upscaler_1, field="upscaler_1")
        if blends(request):
            find_upscaler(models, request.upscaler_2, field="upscaler_2")
        if request.gfpgan_visibility:
            self._networks.faces.check("GFPGAN", field="gfpgan_visibility")
        if request.codeformer_visibility:
            self._networks.faces.check("CodeFormer", field="codeformer_visibility")

    def _process(self, extras: Extras, picture: Image.Image, size: Size, ctx: RunContext) -> Image.Image:
        request, options = extras.request, extras.options
        if not request.upscale_first:
            picture = self._restore(request, picture, ctx)
        if enlarges(request):
            upscalers = self._networks.upscalers
            first = upscalers.get(request.upscaler_1, field="upscaler_1", options=options)
            second = None
            if blends(request):
                second = upscalers.get(request.upscaler_2, field="upscaler_2", options=options)
            picture = enlarge(
                picture,
                request,
                first=first,
                second=second,
                size=size,
                tick=ctx.check_cancelled,
            )
        if request.upscale_first:
            picture = self._restore(request, picture, ctx)
        return picture

    def _restore(self, request: ExtrasRequest, picture: Image.Image, ctx: RunContext) -> Image.Image:
        for name, visibility, weight in (
            ("GFPGAN", request.gfpgan_visibility, 0.5),
            ("CodeFormer", request.codeformer_visibility, request.codeformer_weight),
        ):
            if visibility:
                restored = self._networks.faces.restore(
                    name, picture, weight=weight, field=f"{name.lower()}_visibility", tick=ctx.check_cancelled
                )
                picture = Image.blend(picture, restored, visibility)
        return picture


def _texts(source: Image.Image) -> dict[str, str]:
    """What the picture that came in told of itself, such as the parameters that it was made with."""
    return {str(name): str(value) for name, value in source.info.items()}


def _encode(picture: Image.Image, texts: dict[str, str], options: RenderOptions) -> str:
    infotext = texts.pop(INFOTEXT, "")
    file = encode(np.asarray(picture), infotext, options.samples_format, options, texts)
    return base64.b64encode(file.data).decode()
