"""The publish stage of txt2img: pictures to files, into the store, and the result in the client's dialect."""

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
from easel_store import Store, numbers_store
from easel_worker.handlers.plan import Plan
from easel_worker.outputs.numbering import Numbers
from easel_worker.outputs.options import OutputOptions
from easel_worker.outputs.record import GenerationRecord, ImageFacts
from easel_worker.outputs.rendering import Rendering, make_products
from easel_worker.outputs.saving import Saver, presign
from easel_worker.settings import WorkerSettings


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
        ContractError: the request's options make no sense.
    """
    plan, request = rendered.plan, rendered.plan.request
    options = OutputOptions.from_options(request.override_settings)
    rendering = Rendering(_record(plan), tuple(rendered.images), _facts(plan))
    saving = plan.save_dir is not None or request.save_images
    products = make_products(rendering, options, saving=saving)
    saver = Saver(store, Numbers(store, numbers_store(settings)), settings.mount_paths)

    if plan.save_dir is not None:
        saved = saver.save_cloud(products, plan.save_dir)
        wants_urls = request.options.presigned_url
        return eas_result(
            id_task=request.options.id_task,
            image_url=[place.shown for place in saved],
            seeds=plan.seeds,
            total_time=round(time.monotonic() - rendered.began, 3),
            hostname=socket.gethostname(),
            presigned=presign(store, saved, settings.s3_presign_s) if wants_urls else None,
        )
    if request.save_images:
        saver.save_patterned(products)
    return a1111_result(
        images=[base64.b64encode(product.file.data).decode() for product in products.answered]
        if request.send_images
        else [],
        parameters=json.loads(request.model_dump_json()),
        info=products.info(),
    )


def _record(plan: Plan) -> GenerationRecord:
    request = plan.request
    return GenerationRecord(
        kind="txt2img",
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        sampler=plan.choice.sampler,
        schedule=plan.choice.label,
        steps=request.steps,
        cfg_scale=request.cfg_scale,
        width=request.width,
        height=request.height,
        batch_size=request.batch_size,
        n_iter=request.n_iter,
        model_name=plan.model.name,
        model_hash=plan.model_hash,
        rng=plan.rng,
        when=datetime.now().astimezone(),
        restore_faces=request.restore_faces,
        subseed_strength=request.subseed_strength,
        seed_resize_from_w=request.seed_resize_from_w,
        seed_resize_from_h=request.seed_resize_from_h,
        denoising_strength=request.denoising_strength,
        clip_skip=request.clip_skip,
        styles=request.styles,
        extra={} if request.eta is None else {"Eta": request.eta},
    )


def _facts(plan: Plan) -> list[ImageFacts]:
    request = plan.request
    return [
        # Without variation strength the subseed changes nothing, so it is not drawn.
        ImageFacts(request.prompt, request.negative_prompt, seed, request.subseed)
        for seed in plan.seeds
    ]
