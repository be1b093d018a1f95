"""The stages of the recipe, in order. Each begins with what the ones before left in the work folder.

A training stage goes on from its own last checkpoint and ends when its planned steps are done; a call after
that has nothing to do, so the whole recipe can be interrupted and called again. With `Run.minutes` it trains
for so long, whatever was planned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from easel_shapes import model_folder
from easel_shapes.recipe import data, team, train_denoiser, train_reading, train_vae
from easel_shapes.recipe.evaluate import evaluate
from easel_shapes.recipe.export import export
from easel_shapes.recipe.resume import resume
from easel_shapes.recipe.sitting import Budget, Sitting
from easel_shapes.recipe.survey import survey

_CHECK_SEED = 1_000_003  # of pictures that training never sees


@dataclass(frozen=True)
class Plan:
    """How much of everything: pictures drawn, optimizer steps, prompts judged (each with `seeds` seeds) and
    surveyed (each under every condition); for the companions too."""

    pictures: int
    vae_steps: int
    decoder_steps: int
    reading_steps: int
    denoiser_steps: int
    prompts: int
    seeds: int
    survey_prompts: int
    classifier_steps: int
    control_pictures: int
    control_steps: int
    lora_pictures: int
    lora_steps: int
    companion_cases: int


# Two CPU cores take about four hours for it.
FULL = Plan(
    pictures=40_000,
    vae_steps=2_000,
    decoder_steps=6_000,
    reading_steps=1_000,
    denoiser_steps=8_000,
    prompts=500,
    seeds=3,
    survey_prompts=40,
    classifier_steps=1500,
    control_pictures=7_000,
    control_steps=2_000,
    lora_pictures=900,
    lora_steps=250,
    companion_cases=40,
)
SMOKE = Plan(
    pictures=300,
    vae_steps=40,
    decoder_steps=30,
    reading_steps=40,
    denoiser_steps=40,
    prompts=4,
    seeds=1,
    survey_prompts=1,
    classifier_steps=60,
    control_pictures=100,
    control_steps=40,
    lora_pictures=100,
    lora_steps=40,
    companion_cases=4,
)


@dataclass(frozen=True)
class Run:
    """What one call of the recipe was asked for.

    `minutes`: None trains as planned. `processes`: how many train the denoiser together.
    """

    out: Path
    model: Path | None
    plan: Plan
    seed: int
    device: torch.device
    minutes: float | None = None
    rate: float = train_denoiser.PEAK_RATE
    processes: int = 1

    @property
    def target(self) -> Path:
        """The model's folder."""
        return self.model or self.out / "easel-shapes"

    def budget(self, steps: int) -> Budget:
        """How long a training stage with so many planned steps lasts."""
        return Budget(steps=steps) if self.minutes is None else Budget(minutes=self.minutes)


def draw(run: Run) -> None:
    """Draw the training pictures."""
    data.load_or_draw(run.out, run.seed, run.plan.pictures)


def vae(run: Run) -> Sitting:
    """Train the autoencoder."""
    return _train_vae(run, run.plan.vae_steps, decoder_only=False)


def decoder(run: Run) -> Sitting:
    """Train the VAE's decoder further; latents, and so a denoiser trained on them, stay as they are."""
    return _train_vae(run, run.plan.decoder_steps, decoder_only=True)


def encode(run: Run) -> None:
    """Turn the pictures into latents."""
    _latents(run, _pools(run))


def reading(run: Run) -> Sitting:
    """Teach the text encoder to read captions."""
    return train_reading.train_reading(
        run.out, seed=run.seed, budget=run.budget(run.plan.reading_steps), device=run.device
    )


def denoiser(run: Run) -> Sitting:
    """Train the UNet and the text encoder, in several processes where `run` says so."""
    encode(run)  # once, not in every process
    if run.processes > 1:
        return team.work_together(run.processes, _denoiser, run)
    return _denoiser(run)


def write(run: Run) -> None:
    """Write the model's folder."""
    export(run.out, run.target, _whitening_pictures(run.seed), run.device)


def judge(run: Run) -> None:
    """Ask held-out prompts; evaluation.md and samples.png."""
    plan = run.plan
    evaluate(
        run.target,
        run.out,
        prompts=plan.prompts,
        seeds=plan.seeds,
        classifier_steps=plan.classifier_steps,
        device=run.device,
    )


def look_around(run: Run) -> None:
    """Frames, samplers, guidance, wordings and attributes; survey.md."""
    plan = run.plan
    survey(
        run.target,
        run.out,
        prompts=plan.survey_prompts,
        classifier_steps=plan.classifier_steps,
        device=run.device,
    )


def take_up(run: Run) -> None:
    """Make training states of a finished model, for a sitting where the earlier ones left nothing."""
    resume(run.model or model_folder(), run.out)


STAGES: MappingProxyType[str, Callable[[Run], Sitting | None]] = MappingProxyType(
    {
        "draw": draw,
        "vae": vae,
        "decoder": decoder,
        "encode": encode,
        "reading": reading,
        "denoiser": denoiser,
        "export": write,
        "evaluate": judge,
        "survey": look_around,
    }
)
"""What the whole recipe runs, in this order."""


def _train_vae(run: Run, steps: int, *, decoder_only: bool) -> Sitting:
    done = train_vae.train_vae(
        run.out,
        _pools(run),
        seed=run.seed,
        budget=run.budget(steps),
        device=run.device,
        decoder_only=decoder_only,
    )
    trained = train_vae.load_vae(run.out, run.device)
    pool = data.draw_pool(_CHECK_SEED, 128, 128, 64)
    decibels = train_vae.psnr(trained, pool.pictures, run.device)
    print(f"vae: {decibels:.2f} dB on drawings it never saw", file=sys.stderr)
    return done


def _denoiser(run: Run) -> Sitting:
    pools = _pools(run)
    return train_denoiser.train_denoiser(
        run.out,
        pools,
        _latents(run, pools),
        seed=run.seed,
        budget=run.budget(run.plan.denoiser_steps),
        device=run.device,
        peak=run.rate,
    )


def _pools(run: Run) -> list[data.Pool]:
    return data.load_or_draw(run.out, run.seed, run.plan.pictures)


def _latents(run: Run, pools: Sequence[data.Pool]) -> list[torch.Tensor]:
    trained = train_vae.load_vae(run.out, run.device)
    fingerprint = train_vae.fingerprint(trained)
    train_vae.whiten(trained, _whitening_pictures(run.seed), run.device)
    return train_denoiser.encode_pools(run.out, trained, fingerprint, pools, run.device)


def _whitening_pictures(seed: int) -> NDArray[np.uint8]:
    return data.draw_pool(seed, 128, 128, 512).pictures
