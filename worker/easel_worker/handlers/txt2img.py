"""``POST /sdapi/v1/txt2img``: from a body to pictures in the store and a result."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from easel_contract.checkpoints import Library, ModelFile
from easel_contract.errors import ContractError
from easel_contract.needs import checkpoint_need
from easel_contract.requests import parse_txt2img
from easel_contract.results import Outcome
from easel_queue import Task
from easel_store import configured_store, make_layout
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.device import pick_device, pick_dtype
from easel_worker.diffusion.errors import CheckpointError, DiffusionError, JobError
from easel_worker.diffusion.memory import free_memory, is_out_of_memory
from easel_worker.diffusion.txt2img import Txt2ImgJob, txt2img
from easel_worker.failure import Failure, failure_of
from easel_worker.handlers.answer import Rendered, answer
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.handlers.plan import Plan, default_name, make_plan
from easel_worker.handlers.steps import StepReporter
from easel_worker.models.cache import CheckpointCache
from easel_worker.models.starter import ensure_checkpoint
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

log = logging.getLogger(__name__)


class Txt2ImgHandler(Handler[Plan, Rendered]):
    """Renders text to images with the checkpoints of the model directory."""

    paths: ClassVar[tuple[str, ...]] = ("/sdapi/v1/txt2img",)

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self._library = Library(settings.checkpoint_dir)
        self._limits = settings.limits()
        self._store = configured_store(settings)
        self._device = torch.device("cpu")
        self._dtype = torch.float32
        self._cache: CheckpointCache[Checkpoint] = CheckpointCache(
            settings.checkpoint_cache, self._load, lambda: free_memory(self._device)
        )

    def setup(self) -> None:
        """Find the device, make sure that there is a checkpoint, and load the default one."""
        if self.settings.torch_threads:
            torch.set_num_threads(self.settings.torch_threads)
        self._device = pick_device(self.settings.device)
        self._dtype = pick_dtype(self._device, self.settings.dtype)
        make_layout(self.settings.data_dir)
        ensure_checkpoint(self._library)
        try:
            name = default_name(self._library, self.settings.default_checkpoint)
            self._cache.get(self._library.resolve(name))
        except (ContractError, CheckpointError) as error:
            # Requests may name another checkpoint, and the operator may copy the right one in meanwhile.
            log.warning("the default checkpoint cannot be loaded: %s", error)

    def prepare(self, task: Task) -> Plan:
        # Again, although the gateway has checked most bodies: the EAS addresses store any bytes.
        return make_plan(parse_txt2img(task.data, self._limits), self._library, self.settings)

    def id_task(self, prepared: Plan) -> str | None:
        return prepared.request.options.id_task

    def run(self, prepared: Plan, ctx: RunContext) -> Rendered:
        began = time.monotonic()
        reporter = StepReporter(ctx, len(prepared.batches), len(prepared.seeds))
        reporter.loading()
        checkpoint = self._cache.get(prepared.model)
        batches: list[NDArray[np.uint8]] = []
        for seeds in prepared.batches:
            batches.append(txt2img(checkpoint, _job(prepared, seeds), on_step=reporter.step))
            reporter.batch_done(len(seeds))
        return Rendered(prepared, np.concatenate(batches), began)

    def publish(self, task: Task, output: Rendered) -> Outcome:
        return answer(output, self._store, self.settings)

    def explain(self, error: Exception) -> Failure:
        if is_out_of_memory(error):
            return Failure(
                500,
                f"out of memory on {self._device}: lower width, height or batch_size",
                "OutOfMemoryError",
                out_of_memory=True,
            )
        if isinstance(error, JobError):
            return Failure(422, str(error), type(error).__name__, retry=False)
        if isinstance(error, DiffusionError):
            # A broken model folder or an overflow: the next delivery would find the same.
            return Failure(500, str(error), type(error).__name__, retry=False)
        return failure_of(error)

    def free_memory(self) -> None:
        self._cache.shrink_to_newest()
        free_memory(self._device)

    def unload(self) -> None:
        self._cache.clear()
        free_memory(self._device)

    def reload(self, checkpoint: str) -> None:
        name = checkpoint or self._library.default(self.settings.default_checkpoint)
        self._cache.get(self._library.resolve(name))

    def at_hand(self) -> Sequence[str]:
        loaded = self._cache.names()[::-1]
        try:
            default = default_name(self._library, self.settings.default_checkpoint, fresh=False)
        except ContractError:
            default = None
        return [need for name in loaded for need in _needs_met(name, default)]

    def describe(self) -> Mapping[str, object]:
        loaded = self._cache.names()
        return {
            "device": str(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "checkpoint": loaded[-1] if loaded else None,
            "checkpoints": list(loaded),
        }

    def _load(self, model: ModelFile) -> Checkpoint:
        began = time.monotonic()
        checkpoint = load_checkpoint(Path(model.path), device=self._device, dtype=self._dtype)
        self.stats.model_loads.inc()
        log.info("checkpoint %s: loaded in %.1f s on %s", model.name, time.monotonic() - began, self._device)
        return checkpoint


def _needs_met(name: str, default: str | None) -> Iterator[str]:
    yield checkpoint_need(name)
    if name == default:
        yield checkpoint_need(None)


def _job(plan: Plan, seeds: tuple[int, ...]) -> Txt2ImgJob:
    request = plan.request
    return Txt2ImgJob(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seeds=seeds,
        steps=request.steps,
        cfg_scale=request.cfg_scale,
        width=request.width,
        height=request.height,
        sampler=plan.choice.sampler,
        scheduler=plan.choice.scheduler,
        eta=request.eta,
        clip_skip=request.clip_skip,
        rng=plan.rng,
    )
