"""The publish stage of txt2img: pictures to PNG, into the store, and the result in the client's dialect."""

from __future__ import annotations

import base64
import json
import socket
import time
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from easel_contract.results import Outcome, a1111_result, eas_result
from easel_contract.savedir import SaveDir
from easel_store import Store
from easel_worker.handlers.plan import Plan
from easel_worker.outputs.describe import describe, infotext
from easel_worker.outputs.grid import make_grid
from easel_worker.outputs.names import Names
from easel_worker.outputs.png import encode_png
from easel_worker.outputs.saving import Picture, presign, save
from easel_worker.settings import WorkerSettings

OUTPUTS = "outputs"
"""Where `save_images` puts files of requests without `save_dir`: A1111's folder."""


@dataclass(frozen=True)
class Rendered:
    """What left the torch thread: one uint8 picture (H, W, 3) per seed of the plan."""

    plan: Plan
    images: NDArray[np.uint8]
    began: float
    """`time.monotonic` at which the torch thread began."""


def answer(rendered: Rendered, store: Store, settings: WorkerSettings) -> Outcome:
    """Store what is to be stored and build the result: paths with `save_dir`, else base64 pictures.

    Raises:
        StoreError: the pictures cannot be stored.
    """
    plan, request = rendered.plan, rendered.plan.request
    when = datetime.now().astimezone()
    texts = [infotext(plan, seed) for seed in plan.seeds]
    pictures = [
        Picture(encode_png(image, text), seed)
        for image, text, seed in zip(rendered.images, texts, plan.seeds, strict=True)
    ]
    saving = plan.save_dir is not None or request.save_images
    if saving and len(pictures) > 1:
        # The grid tells the first picture's parameters.
        pictures.insert(0, Picture(encode_png(make_grid(rendered.images), texts[0]), None))
        texts.insert(0, texts[0])
    folder = plan.save_dir or SaveDir(OUTPUTS, OUTPUTS)
    saved = save(store, pictures, Names("txt2img", when), folder) if saving else []

    if plan.save_dir is not None:
        wants_urls = request.options.presigned_url
        return eas_result(
            id_task=request.options.id_task,
            image_url=[place.shown for place in saved],
            seeds=plan.seeds,
            total_time=round(time.monotonic() - rendered.began, 3),
            hostname=socket.gethostname(),
            presigned=presign(store, saved, settings.s3_presign_s) if wants_urls else None,
        )
    return a1111_result(
        images=[base64.b64encode(picture.png).decode() for picture in pictures]
        if request.send_images
        else [],
        parameters=json.loads(request.model_dump_json()),
        info=describe(plan, texts, when, grid=len(pictures) > len(plan.seeds)),
    )
