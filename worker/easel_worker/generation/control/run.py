"""Units at work on one batch: what they add to its passes, and to its pictures when they are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from PIL import Image

from easel_contract.errors import ContractError
from easel_worker.annotators import Annotators, Pixels
from easel_worker.annotators.geometry import to_hint
from easel_worker.diffusion.attention.attach import attention_units
from easel_worker.diffusion.attention.units import Reference, ReferenceKind
from easel_worker.diffusion.attention.units import Unit as Acting
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.control import ControlArgs, control_hook
from easel_worker.diffusion.encode import encode
from easel_worker.diffusion.guidance import Guidance
from easel_worker.diffusion.known_latent import keep_known
from easel_worker.generation.control.finishing import finisher
from easel_worker.generation.control.hints import hints_of, seed_of
from easel_worker.generation.control.kinds import Kind
from easel_worker.generation.control.looks import MODES, Looks, file_of, region_of
from easel_worker.generation.control.models import ControlModels
from easel_worker.generation.control.unit import Hint, Unit
from easel_worker.generation.job import Job, Picture, Source
from easel_worker.generation.sampling import noise_for
from easel_worker.generation.studio import Studio
from easel_worker.imaging.resize import Size

_REFERENCES: dict[str, ReferenceKind] = {
    "reference_only": "reference_only",
    "reference_adain": "reference_adain",
    "reference_adain+attn": "reference_adain+attn",
}
_THIN = frozenset({"canny", "mlsd"})
"""Modules whose lines of one pixel would hold a second pass too tight."""


@dataclass(frozen=True)
class ControlKit:
    """What units work with, lent by the torch thread."""

    annotators: Annotators
    models: ControlModels


class BatchControl:
    """The units of a job, for one batch of it.

    Args:
        source: img2img's, as this batch sees it; None for txt2img.
    """

    def __init__(self, job: Job, source: Source | None, batch: Sequence[Picture], kit: ControlKit) -> None:
        self._job = job
        self._source = source
        self._batch = batch
        self._kit = kit
        own = batch[0].seed if job.options.controlnet_increment_seed_during_batch else None
        self._seed = seed_of(job, own)
        self._looks = Looks(source, kit.models, len(batch), self._seed)
        self._acted: list[Unit] = []
        self._shown: list[tuple[int, Image.Image]] = []

    @property
    def maps(self) -> list[Image.Image]:
        """What answers show of the passes so far: unit by unit, the first pass's map before the second's."""
        return [image for _, image in sorted(self._shown, key=lambda entry: entry[0])]

    def finished(self, pictures: Sequence[Pixels]) -> list[Pixels]:
        """Decoded pictures, with what the units of the last pass have to put right in them. They may be
        larger than that pass: a hires pass of strength 0 is none."""
        finished = list(pictures)
        for unit in self._acted:
            finish = finisher(unit, self._job.options)
            if finish is not None:
                height, width = finished[0].shape[:2]
                hints = self._hints(unit, (width, height))
                finished = [finish(one, hints[i % len(hints)].map) for i, one in enumerate(finished)]
        return finished

    @contextmanager
    def acting(self, guidance: Guidance, size: Size, *, second: bool) -> Iterator[None]:
        """While it lasts, the units act on the model calls of a pass.

        Args:
            size: Width and height of the pass in pixels.
            second: It is a hires pass.

        Raises:
            ContractError: a unit's module cannot run, its model is missing or of another kind, or a file of
                either is broken.
            JobError: a model is of another family than the checkpoint, or takes other weights.
        """
        prompts: list[Acting] = []
        self._acted = []
        for unit in self._job.units:
            if second not in range(2)[unit.passes(1 if self._job.hires is None else 2)]:
                continue
            if unit.kind.looks:
                prompts += self._look(unit)
            elif unit.kind is Kind.REFERENCE:
                prompts += self._reference(unit, guidance.checkpoint, size)
            else:
                self._follow(unit, guidance, size, second=second)
        with attention_units(guidance, prompts):
            yield

    def _follow(self, unit: Unit, guidance: Guidance, size: Size, *, second: bool) -> None:
        asked = unit.asked
        hints = self._shown_hints(unit, size)
        if asked.weight == 0:
            return
        self._acted.append(unit)
        model = self._kit.models.network(file_of(unit), f"{asked.field}.model")
        checkpoint = guidance.checkpoint
        if asked.module.startswith("inpaint_only") and all(hint.masks for hint in hints):
            self._keep(hints, guidance)
        guidance.hooks.residuals.append(
            control_hook(
                model,
                self._per_picture(hints).to(checkpoint.device),
                ControlArgs(
                    weight=asked.weight,
                    guidance_start=asked.guidance_start,
                    guidance_end=asked.guidance_end,
                    mode=asked.control_mode.value,
                    advanced_weighting=asked.advanced_weighting,
                    region_mask=None if unit.region is None else region_of(unit.region)[None, None],
                    soft_second_pass=second and asked.module in _THIN,
                    union_type=asked.union_control_type.value,
                    pooled="shuffle" in model.name.casefold(),
                    tiling=self._job.tiling,
                    field=asked.field,
                ),
                checkpoint,
            )
        )

    def _keep(self, hints: Sequence[Hint], guidance: Guidance) -> None:
        """Let nothing change but what is masked."""
        checkpoint = guidance.checkpoint
        known = encode(checkpoint, [Image.fromarray(hint.map[..., :3].copy()) for hint in hints])
        masks = torch.stack([torch.from_numpy(hint.map[..., 3:].copy()).permute(2, 0, 1) for hint in hints])
        places = [i % len(hints) for i in range(len(self._batch))] if len(hints) > 1 else [0]
        keep_known(guidance.hooks, known[places], (masks[places] / 255.0).to(checkpoint.device))

    def _reference(self, unit: Unit, checkpoint: Checkpoint, size: Size) -> list[Acting]:
        asked = unit.asked
        hints = self._shown_hints(unit, size)
        if asked.weight == 0:
            return []
        channels = int(checkpoint.vae.config.latent_channels)
        noise = noise_for(self._job, self._batch, size, channels=channels, device=checkpoint.device)()
        latents = encode(checkpoint, [Image.fromarray(hint.map) for hint in hints])
        return [
            Reference(
                _REFERENCES[asked.module],
                latents if len(hints) == 1 else latents[[i % len(hints) for i in range(len(self._batch))]],
                noise,
                weight=asked.weight,
                style_fidelity=asked.threshold_a,
                start=asked.guidance_start,
                end=asked.guidance_end,
                mode=MODES[asked.control_mode],
                field=asked.field,
            )
        ]

    def _look(self, unit: Unit) -> list[Acting]:
        for shown in self._looks.shown(unit):
            self._show(unit, shown)
        return [] if unit.asked.weight == 0 else [self._looks.acting(unit)]

    def _hints(self, unit: Unit, size: Size) -> tuple[Hint, ...]:
        hints = hints_of(unit, self._kit.annotators, self._job, self._source, size, self._seed)
        if not hints:
            raise ContractError("a unit of txt2img needs a picture", field=f"{unit.asked.field}.image")
        return hints

    def _shown_hints(self, unit: Unit, size: Size) -> tuple[Hint, ...]:
        """The hints of a pass, which the answer shows too."""
        hints = self._hints(unit, size)
        for hint in hints:
            if not unit.inpaints or hint.masks:
                self._show(unit, hint.shown)
        return hints

    def _show(self, unit: Unit, shown: Image.Image) -> None:
        if unit.asked.save_detected_map and not self._job.options.control_net_no_detectmap:
            self._shown.append((unit.asked.index, shown))

    def _per_picture(self, hints: Sequence[Hint]) -> torch.Tensor:
        """(1 or images, 3, h, w): one map for all, or each picture's own."""
        tensors = [to_hint(hint.map) for hint in hints]
        if len(tensors) == 1:
            return tensors[0]
        return torch.cat([tensors[i % len(tensors)] for i in range(len(self._batch))])


def units_at_work(
    job: Job, source: Source | None, batch: Sequence[Picture], studio: Studio
) -> BatchControl | None:
    """The units of a job for one batch; None where it has none."""
    if not job.units:
        return None
    if studio.control is None:
        raise RuntimeError("a job with ControlNet units needs a studio that lends what they work with")
    return BatchControl(job, source, batch, studio.control)
