"""``POST /sdapi/v1/txt2img`` and ``img2img``: from a body to pictures in the store and a result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch

from easel_contract.checkpoints import Library, ModelFile
from easel_contract.errors import ContractError
from easel_contract.needs import checkpoint_need
from easel_contract.options import RenderOptions
from easel_contract.requests import GENERATION_PATHS, parse_request
from easel_contract.results import Outcome
from easel_contract.vae_files import VaeFile
from easel_queue import Task
from easel_store import configured_store, make_layout, numbers_store
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.embeddings import EmbeddingFolder
from easel_worker.diffusion.errors import CheckpointError, DiffusionError, JobError
from easel_worker.diffusion.extra_networks import ExtraNetworks
from easel_worker.diffusion.memory import free_memory, is_out_of_memory
from easel_worker.diffusion.previews import Previewer, Previews, PreviewSettings
from easel_worker.diffusion.taesd import TaesdFiles
from easel_worker.failure import Failure
from easel_worker.generation.control.models import ControlModels
from easel_worker.generation.control.run import ControlKit
from easel_worker.generation.plan import Plan, Planner
from easel_worker.generation.process import batches_of, generate, passes_of
from easel_worker.generation.result import Result
from easel_worker.generation.studio import Studio
from easel_worker.handlers.answer import Rendered, answer
from easel_worker.handlers.base import Handler, RunContext
from easel_worker.handlers.networks import shared_networks
from easel_worker.handlers.together import SharedSignals, apart, together
from easel_worker.handlers.watch import Signals, TaskWatch
from easel_worker.intake import Intake
from easel_worker.models.cache import CHECKPOINT, ModelCache, Tier
from easel_worker.models.loader import ModelLoader
from easel_worker.models.starter import ensure_checkpoint, ensure_companions
from easel_worker.models.tiers import cache_of
from easel_worker.outputs.numbering import Numbers
from easel_worker.outputs.saving import Saver
from easel_worker.previews import PreviewImage
from easel_worker.settings import WorkerSettings
from easel_worker.stats import Stats

log = logging.getLogger(__name__)


class GenerationHandler(Handler[Plan, Rendered]):
    """Renders with the checkpoints of the model directory."""

    paths: ClassVar[tuple[str, ...]] = GENERATION_PATHS

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        super().__init__(settings, stats)
        self._library = Library(settings.checkpoint_dir, hashes=settings.hash_file)
        self._limits = settings.limits()
        self._store = configured_store(settings)
        self._networks = shared_networks(settings)
        intake = Intake(self._limits.images)
        self._planner = Planner(settings, self._library, intake, self._networks.annotators)
        self._saver = Saver(self._store, Numbers(self._store, numbers_store(settings)), settings.mount_paths)
        self._embeddings = EmbeddingFolder(
            settings.data_dir / "embeddings", allow_pickles=settings.allow_pickle
        )
        self._extra_networks = ExtraNetworks(
            allow_pickle=settings.allow_pickle,
            make_room=lambda nbytes: self._models.cache.make_room(nbytes),
        )
        self._networks_at_hand = ("", "")
        self._taesd = TaesdFiles(settings.data_dir / "models" / "VAE-approx")
        self._previews = Previews(self._taesd)
        cpu = torch.device("cpu")
        self._models = self._models_on(cpu, torch.float32, cache_of(settings, cpu))

    def setup(self) -> None:
        """Find the device, make sure that there is a checkpoint, and load the default one."""
        if self.settings.torch_threads:
            torch.set_num_threads(self.settings.torch_threads)
        placed = self._networks.placed
        self._models = self._models_on(placed.device, placed.dtype, self._networks.cache)
        make_layout(self.settings.data_dir)
        ensure_checkpoint(self._library)
        ensure_companions(self._library.folder)
        try:
            self.reload("")
        except (ContractError, CheckpointError) as error:
            # Requests may name another checkpoint, and the operator may copy the right one in meanwhile.
            log.warning("the default checkpoint cannot be loaded: %s", error)

    def prepare(self, task: Task) -> Plan:
        # Again, although the gateway has checked most bodies: the EAS addresses store any bytes.
        request = parse_request(task.meta.get("path", ""), task.data, self._limits)
        if request is None:
            raise ValueError(f"{task.meta.get('path')!r} is not this handler's")
        plan = self._planner.plan(request, task.options)
        if request.save_images:
            self._saver.check(plan.job.options, plan.job.kind)
        return replace(plan, user=task.meta.get("user") or request.options.uid)

    def id_task(self, prepared: Plan) -> str | None:
        return prepared.request.options.id_task

    def run(self, prepared: Plan, ctx: RunContext) -> Rendered:
        began = time.monotonic()
        used: list[Checkpoint] = []
        watch = TaskWatch(
            ctx,
            prepared.work.passes,
            prepared.work.images,
            lambda: self._previewer(used[0], prepared.job.options, ctx.preview) if used else None,
        )
        result, problems = self._draw(prepared, prepared.work.render, watch, ctx, used)
        return Rendered(_warned(prepared, problems), result, began)

    def run_together(
        self, prepared: Sequence[Plan], contexts: Sequence[RunContext]
    ) -> Sequence[Rendered | None]:
        began = time.monotonic()
        first = prepared[0]
        job = together(prepared, max_batch_size=self._limits.max_batch_size)
        if job is None or self._embeddings.named_in(one.prompt + one.negative_prompt for one in job.pictures):
            # What is told of embeddings is told of a whole batch, and would be told to other tasks' callers.
            return [None] * len(prepared)
        used: list[Checkpoint] = []
        signals = SharedSignals(contexts, [len(plan.job.pictures) for plan in prepared])
        watch = TaskWatch(
            signals,
            len(list(batches_of(job))) * passes_of(job),
            len(job.pictures),
            lambda: signals.previews(
                lambda show: self._previewer(used[0], job.options, show) if used else None, watch.images_done
            ),
        )
        result, problems = self._draw(first, lambda studio: generate(job, studio), watch, signals, used)
        return [
            None if own is None else Rendered(_warned(plan, problems), own, began)
            for plan, own in zip(prepared, apart(result, prepared, signals), strict=True)
        ]

    def _draw(
        self,
        plan: Plan,
        render: Callable[[Studio], Result],
        watch: TaskWatch,
        signals: Signals,
        used: list[Checkpoint],
    ) -> tuple[Result, Sequence[str]]:
        """What `render` makes of the plan's job or of more like it, and what it did otherwise than asked.
        `used` is always the checkpoint in work."""
        options = plan.job.options

        def checkpoint(model: ModelFile) -> Checkpoint:
            used[:] = [self._models.checkpoint(model)]
            return used[0]

        def with_vae(checkpoint: Checkpoint, vae: VaeFile) -> Checkpoint:
            used[:] = [self._models.with_vae(checkpoint, vae)]
            return used[0]

        watch.loading()
        studio = Studio(
            checkpoint,
            lambda name: self._networks.upscalers.get(name, field="upscaler", options=options),
            lambda picture, name, weight: self._networks.faces.restore(
                name, picture, weight=weight, tick=signals.check_cancelled
            ),
            watch,
            self._embeddings,
            with_vae,
            networks=self._extra_networks,
            control=self._control(options),
            taesd=self._taesd,
        )
        with self._models.cache.job():
            checkpoint(plan.job.model)
            result = render(studio)
        watch.finished()
        self._networks_at_hand = plan.job.model.name, plan.networks_need
        return result, studio.problems

    def _control(self, options: RenderOptions) -> ControlKit:
        models = ControlModels(
            self.settings.data_dir / "models",
            self._models,
            allow_pickle=self.settings.allow_pickle,
            keep=options.control_net_model_cache_size,
        )
        return ControlKit(self._networks.annotators, models)

    def publish(self, task: Task, output: Rendered) -> Outcome:
        return answer(output, self._store, self._saver, self.settings)

    def explain(self, error: Exception) -> Failure:
        if is_out_of_memory(error):
            return Failure(
                500,
                f"out of memory on {self._models.device}: lower width, height or batch_size",
                "OutOfMemoryError",
                out_of_memory=True,
            )
        if isinstance(error, JobError):
            return Failure(422, str(error), type(error).__name__, retry=False)
        if isinstance(error, DiffusionError):
            # A broken model folder or an overflow: the next delivery would find the same.
            return Failure(500, str(error), type(error).__name__, retry=False)
        return self._networks.explain(error)

    def free_memory(self) -> None:
        self._extra_networks.forget()
        self._models.cache.shrink_to_newest()
        self._networks.free_memory()
        free_memory(self._models.device)

    def unload(self) -> None:
        self._extra_networks.forget()
        self._models.cache.clear()
        self._networks.free_memory()
        free_memory(self._models.device)

    def reload(self, checkpoint: str) -> None:
        name = checkpoint or self._library.default(self.settings.default_checkpoint)
        self._models.checkpoint(self._library.resolve(name))

    def at_hand(self) -> Sequence[str]:
        held = [one for one in reversed(self._models.cache.held()) if one.kind == CHECKPOINT]
        # What is on the device already is quicker than what has to be moved there.
        held.sort(key=lambda one: one.tier is not Tier.DEVICE)
        try:
            default = self._library.default(self.settings.default_checkpoint, fresh=False)
        except ContractError:
            default = None
        worn_by, networks = self._networks_at_hand
        return [
            need
            for one in held
            for need in _needs_met(one.name, default, networks if one.name == worn_by else "")
        ]

    def describe(self) -> Mapping[str, object]:
        held = self._models.cache.held()
        checkpoints = [one.name for one in held if one.kind == CHECKPOINT]
        return {
            "device": str(self._models.device),
            "dtype": str(self._models.dtype).removeprefix("torch."),
            "checkpoint": checkpoints[-1] if checkpoints else None,
            "checkpoints": checkpoints,
            "models": [
                {"kind": one.kind, "name": one.name, "tier": one.tier.value, "bytes": one.nbytes}
                for one in held
            ],
        }

    def _models_on(self, device: torch.device, dtype: torch.dtype, cache: ModelCache) -> ModelLoader:
        return ModelLoader(
            cache,
            device=device,
            dtype=dtype,
            allow_pickle=self.settings.allow_pickle,
            on_load=self.stats.model_loads.inc,
        )

    def _previewer(
        self, checkpoint: Checkpoint, options: RenderOptions, show: Callable[[PreviewImage], None]
    ) -> Previewer | None:
        if not options.live_previews_enable:
            return None
        decoder = self._previews.decoder(checkpoint, options.show_progress_type)
        return Previewer(decoder, PreviewSettings.from_options(options.model_dump()), show)


def _warned(plan: Plan, problems: Sequence[str]) -> Plan:
    """The plan with what was done otherwise than asked."""
    return replace(plan, warnings=tuple(dict.fromkeys((*plan.warnings, *problems)))) if problems else plan


def _needs_met(name: str, default: str | None, networks: str) -> Iterator[str]:
    """networks: those that were made for the checkpoint last, as `networks_need` tells them."""
    needs = [checkpoint_need(name), *([checkpoint_need(None)] if name == default else [])]
    if networks:
        yield from (f"{need} {networks}" for need in needs)
    yield from needs
