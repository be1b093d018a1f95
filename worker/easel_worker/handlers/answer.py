"""The publish stage of txt2img and img2img: pictures to files, into the store, and the result in the client's
dialect.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from easel_contract.checkpoints import ModelFile
from easel_contract.requests import GenerationRequest, Img2ImgRequest
from easel_contract.results import Outcome, a1111_result, eas_result
from easel_contract.vae_files import VaeFile
from easel_store import Store
from easel_worker.generation.job import Job
from easel_worker.generation.networks import LoraHashes
from easel_worker.generation.plan import Plan
from easel_worker.generation.result import Result
from easel_worker.outputs.record import GenerationRecord, ImageFacts
from easel_worker.outputs.rendering import Copy, Rendering, make_products
from easel_worker.outputs.saving import Saver, presign
from easel_worker.settings import WorkerSettings


@dataclass(frozen=True)
class Rendered:
    """What left the torch thread. An interrupted task may have no picture at all."""

    plan: Plan
    result: Result
    began: float
    """`time.monotonic` at which the torch thread began."""


def answer(rendered: Rendered, store: Store, saver: Saver, settings: WorkerSettings) -> Outcome:
    """Store what is to be stored and build the result: paths with `save_dir`, else base64 pictures.

    Raises:
        StoreError: the pictures cannot be stored.
        ContractError: the request's options make no sense.
    """
    plan, request, result = rendered.plan, rendered.plan.request, rendered.result
    options = plan.job.options
    saving = plan.save_dir is not None or request.save_images
    when = datetime.now().astimezone()
    rendering = Rendering(
        _main_record(rendered, when),
        [np.asarray(shot.image) for shot in result.shots],
        _facts(rendered),
        extras=[np.asarray(image) for image in result.extras],
        maps=[np.asarray(image) for image in result.maps],
        grids=[np.asarray(image) for image in result.grids],
        unfinished=frozenset(i for i, shot in enumerate(result.shots) if not shot.whole),
        show_samples=result.show_shots,
        copies=[
            Copy(i, suffix, np.asarray(image))
            for i, shot in enumerate(result.shots)
            for suffix, image in shot.copies.items()
        ],
        records=[_record(plan, shot.job, shot.facts, when) for shot in result.shots],
        script=result.facts,
    )
    products = make_products(rendering, options, saving=saving)

    if plan.save_dir is not None:
        saved = saver.save_cloud(products, plan.save_dir)
        behind = ("extra", "map")
        masks = [place.shown for place in saved if place.product.role in behind]
        pictures = [place for place in saved if place.product.role not in behind]
        wants_urls = request.options.presigned_url
        return eas_result(
            id_task=request.options.id_task,
            image_url=[place.shown for place in pictures],
            seeds=[
                result.shots[place.product.index].picture.seed
                for place in pictures
                if place.product.role == "sample"
            ],
            total_time=round(time.monotonic() - rendered.began, 3),
            hostname=socket.gethostname(),
            image_mask_url=masks,
            presigned=presign(store, pictures, settings.s3_presign_s) if wants_urls else None,
        )
    if request.save_images:
        saver.save_patterned(products)
    return a1111_result(
        images=[base64.b64encode(product.file.data).decode() for product in products.answered]
        if request.send_images
        else [],
        parameters=_echo(request),
        info=products.info() | ({"warnings": list(plan.warnings)} if plan.warnings else {}),
    )


def _echo(request: GenerationRequest) -> dict[str, Any]:
    """The request with its defaults; of img2img without its pictures, unless it wants them back."""
    echoed: dict[str, Any] = json.loads(request.model_dump_json())
    if isinstance(request, Img2ImgRequest) and not request.include_init_images:
        echoed |= {"init_images": None, "mask": None}
    return echoed


def _main_record(rendered: Rendered, when: datetime) -> GenerationRecord:
    """What is told of the whole request: its own job, as far as its first picture got; with a script, whose
    pictures have jobs of their own, the request's as it is."""
    plan, shots = rendered.plan, rendered.result.shots
    if not shots:
        return _record(plan, plan.job, {}, when)
    job = shots[0].job if plan.request.script is None else plan.job
    return _record(plan, job, shots[0].facts, when)


def _record(plan: Plan, job: Job, facts: Mapping[str, object], when: datetime) -> GenerationRecord:
    """What is told of a job, which a script may have made of the request. `facts`: of one of its pictures."""
    request = plan.request
    options, choice = job.options, job.steps.choice
    strength = job.hires.denoising_strength if job.hires else job.denoising_strength
    weight = facts.get("Conditional mask weight")
    first = job.pictures[0]
    vae = job.vaes.get(job.model)
    return GenerationRecord(
        kind=job.kind,
        prompt=first.prompt,
        prompt_no_styles=request.prompt,
        negative_prompt=first.negative_prompt,
        sampler=choice.sampler,
        schedule=choice.label,
        steps=job.steps.steps,
        cfg_scale=job.steps.cfg_scale,
        width=job.width,
        height=job.height,
        batch_size=job.batch_size,
        n_iter=request.n_iter,
        model_name=job.model.stem,
        model_hash=_short(plan, job.model),
        vae_name=vae.name if vae else None,
        vae_hash=(_short(plan, vae) or None) if vae else None,
        rng=options.randn_source,
        when=when,
        restore_faces=job.restore_faces,
        face_restoration_model=options.face_restoration_model if job.restore_faces else None,
        subseed_strength=job.subseed_strength,
        seed_resize_from_w=job.seed_resize_from[0] if job.seed_resize_from else -1,
        seed_resize_from_h=job.seed_resize_from[1] if job.seed_resize_from else -1,
        hires=job.hires is not None,
        denoising_strength=strength if job.hires or job.source else None,
        conditional_mask_weight=weight if isinstance(weight, float) else None,
        clip_skip=options.CLIP_stop_at_last_layers,
        ensd=options.eta_noise_seed_delta if choice.uses_ensd else 0,
        token_merging_ratio=job.merging_ratio(),
        token_merging_ratio_hr=job.merging_ratio(second=True) if job.hires else 0.0,
        tiling=job.tiling,
        styles=request.styles,
        user=plan.user,
    )


def _short(plan: Plan, file: ModelFile | VaeFile) -> str:
    """The first 10 digits of a file's hash. Waits for it: a large file may still be read when the picture is
    done."""
    return plan.hashes[file].result()[:10]


def _facts(rendered: Rendered) -> list[ImageFacts]:
    """What is told of each picture; of an interrupted task without any, what its first would have been."""
    shots = rendered.result.shots
    if not shots:
        first = rendered.plan.job.pictures[0]
        return [ImageFacts(first.prompt, first.negative_prompt, first.seed, first.subseed)]
    return [
        ImageFacts(
            shot.picture.prompt,
            shot.picture.negative_prompt,
            shot.picture.seed,
            shot.picture.subseed,
            extra=_settled(shot.facts),
        )
        for shot in shots
    ]


def _settled(facts: Mapping[str, object]) -> Mapping[str, object]:
    """Facts as infotexts tell them. Waits for the hashes of LoRAs, as `_short` does for a checkpoint's."""
    return {key: fact.text() if isinstance(fact, LoraHashes) else fact for key, fact in facts.items()}
