"""Trains the UNet and the text encoder together on the latents of the drawings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from easel_shapes.recipe import sitting, team
from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.data import STEP_SHARES, Pool
from easel_shapes.recipe.networks import (
    PromptReader,
    Vocabulary,
)
from easel_shapes.recipe.reading import answers_of, reading_loss
from easel_shapes.recipe.train_vae import encode
from easel_shapes.recipe.trainee import load_trainee

PEAK_RATE = 1e-3
_BATCH_AREA = 48 * 16 * 16  # latent places in a step of all members: 48 pictures of 128 x 128
_NO_PROMPT = 0.1  # captions left out, for classifier-free guidance
_STRANGE_WORDS = 0.04  # captions with words that the model does not know, so that these disturb nothing
_SNR_CAP = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting"
# The last training level still holds a trace of the picture, sampling starts without one. Pure noise in its
# place now and then teaches to begin from nothing, black and white backgrounds included.
_PURE_NOISE_FROM = 920
_PURE_NOISE = 0.35
_READING = 0.1  # weight of the text encoder's own questions

_TIMESTEPS = 1000
_BETA_START, _BETA_END = 0.00085, 0.012


def alphas_cumprod() -> torch.Tensor:
    """Stable Diffusion 1.x's scaled-linear schedule: (1000,) float32."""
    betas = torch.linspace(_BETA_START**0.5, _BETA_END**0.5, _TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


def encode_pools(
    folder: Path, vae: Any, fingerprint: str, pools: Sequence[Pool], device: torch.device
) -> list[torch.Tensor]:
    """Every pool's latents, kept in `folder` for as long as the encoder's `fingerprint` stays the same."""
    latents = []
    for pool in pools:
        name = f"latents-{fingerprint}-{pool.key}.pt"
        if (folder / name).is_file():
            latents.append(torch.load(folder / name, weights_only=True))
            continue
        encoded = encode(vae, pool.pictures, device)
        sitting.save(folder / name, {"latents": encoded})
        latents.append({"latents": encoded})
    return [entry["latents"] for entry in latents]


def train_denoiser(
    folder: Path,
    pools: Sequence[Pool],
    latents: Sequence[torch.Tensor],
    *,
    seed: int,
    budget: sitting.Budget,
    device: torch.device,
    peak: float = PEAK_RATE,
) -> sitting.Sitting:
    """One sitting; goes on from `folder`/denoiser.pt where there is one, and ends by writing it."""
    trainee = load_trainee(folder, seed, device)
    vocabulary, fresh = trainee.vocabulary, trainee.is_fresh
    torch.manual_seed(1000 * seed + 17 * trainee.steps + team.rank())
    rng = Random(f"{seed} {trainee.steps} {team.rank()}")  # noqa: S311 - captions are no secrets
    batches = Batches(pools, latents, vocabulary, rng, area=_BATCH_AREA // team.size())
    kept = alphas_cumprod().to(device)
    # Momentum that was kept needs little warming up.
    warm_up = 200 if fresh else 20
    now = sitting.Sitting("denoiser", budget, before=trainee.steps, quiet=team.rank() > 0)
    saved = time.monotonic()
    part = now.part
    while part < 1:
        clean, rows, truth = (tensor.to(device) for tensor in batches.draw())
        clean = clean.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            context = trainee.text_encoder(rows).last_hidden_state
            loss = denoiser_loss(trainee.unet, context, clean, kept)
            reading, _ = reading_loss(trainee.questions, context, rows, vocabulary.end, truth)
        torch.autograd.backward(loss + _READING * reading)
        # One clock for all members: they must stop after the same step.
        now.count(float(loss.detach()), f"reading {float(reading.detach()):.3f}")
        part = team.average_gradients(trainee.all, now.part)
        torch.nn.utils.clip_grad_norm_(trainee.all.parameters(), 1.0)
        trainee.optimizer.step(sitting.rate(part, now.done, peak=peak, warm_up=warm_up, flat=0.7))
        trainee.average()
        # A mean of ones is 1 exactly, and every member ends by itself once all of them are over.
        if team.rank() == 0 and (time.monotonic() - saved > sitting.SAVE_EVERY_S or part >= 1):
            saved = time.monotonic()
            sitting.save(folder / "denoiser.pt", trainee.state())
    return now


@dataclass(frozen=True)
class Noised:
    """A batch at random noise levels: what the UNet is given, the velocity that it should answer, and each
    picture's weight, (n,)."""

    noisy: torch.Tensor
    timesteps: torch.Tensor
    velocity: torch.Tensor
    weight: torch.Tensor

    def loss(self, predicted: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """The weighted squared error of a prediction; `target` in place of the velocity where given."""
        wanted = self.velocity if target is None else target
        errors: torch.Tensor = (predicted.float() - wanted).square().mean(dim=(1, 2, 3))
        return (errors * self.weight).mean()


def add_noise(clean: torch.Tensor, kept: torch.Tensor, *, skew: float = 1.0) -> Noised:
    """Noise on a batch of latents, (n, 4, h, w); `kept`: `alphas_cumprod()`.

    `skew`: 1 draws all noise levels equally often, more draws the high ones more often: 1 - u^skew of them
    all, u between 0 and 1.

    The weight of level t is min(SNR + 1, 5) / (SNR + 1): 1 where the layout is decided, less where only the
    last traces of noise are left (min-SNR, in its form for velocities whose weight does not vanish at high
    noise).
    """
    count = len(clean)
    # One level from each of `count` equal parts of the schedule: the same distribution, less variance.
    spread = (torch.arange(count, device=clean.device) + torch.rand(count, device=clean.device)) / count
    timesteps = ((1 - (1 - spread) ** skew) * _TIMESTEPS).long().clamp(max=_TIMESTEPS - 1)
    signal = kept[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - kept[timesteps]).sqrt()[:, None, None, None]
    noise = torch.randn_like(clean)
    noisy = signal * clean + sigma * noise
    pure = (timesteps >= _PURE_NOISE_FROM) & (torch.rand(count, device=clean.device) < _PURE_NOISE)
    inverse = 1 / (1 - kept[timesteps])  # SNR + 1
    return Noised(
        noisy=torch.where(pure[:, None, None, None], noise, noisy),
        timesteps=timesteps,
        velocity=signal * noise - sigma * clean,
        weight=inverse.clamp(max=_SNR_CAP) / inverse,
    )


def denoiser_loss(unet: Any, context: torch.Tensor, clean: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The weighted error of the predicted velocity (Salimans & Ho 2022) for a batch of latents.

    `context`: the text encoder's states, (n, 77, width); `clean`: (n, 4, h, w); `kept`: `alphas_cumprod()`.
    """
    noised = add_noise(clean, kept)
    return noised.loss(unet(noised.noisy, noised.timesteps, context, return_dict=False)[0])


class Batches:
    """Latents and freshly worded captions, one size at a time, as often as `STEP_SHARES` says."""

    def __init__(
        self,
        pools: Sequence[Pool],
        latents: Sequence[torch.Tensor],
        vocabulary: Vocabulary,
        rng: Random,
        *,
        area: int = _BATCH_AREA,
    ) -> None:
        self._area = area
        self._pools, self._latents, self._rng = pools, latents, rng
        self._unknown = vocabulary.unknown
        self._read = PromptReader(vocabulary)
        self._weights = [STEP_SHARES[pool.width, pool.height] for pool in pools]
        self._decks: list[list[int]] = [[] for _ in pools]

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(latents, rows of the text encoder's table, right answers to the questions)."""
        which = self._rng.choices(range(len(self._pools)), weights=self._weights)[0]
        pool, latents = self._pools[which], self._latents[which]
        count = max(1, round(self._area / (latents.shape[-1] * latents.shape[-2])))
        deck = self._decks[which]
        while len(deck) < count:  # every picture once before any comes again
            fresh = [*range(len(pool.scenes))]
            self._rng.shuffle(fresh)
            deck[:0] = fresh
        picked = [deck.pop() for _ in range(count)]
        captions = [
            "" if self._rng.random() < _NO_PROMPT else caption(pool.scenes[index], self._rng)
            for index in picked
        ]
        rows = self._read(captions)
        for row in rows:
            if self._rng.random() < _STRANGE_WORDS:
                place = self._rng.randint(1, 12)
                row[place + 1 :] = row[place:-1].clone()
                row[place] = self._unknown
        truth = answers_of([pool.scenes[index] for index in picked], captions)
        return latents[np.array(picked)], rows, truth
