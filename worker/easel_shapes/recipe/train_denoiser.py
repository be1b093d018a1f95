"""Trains the UNet and the text encoder together on the latents of the drawings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from easel_shapes.recipe import sitting, team
from easel_shapes.recipe.captions import caption
from easel_shapes.recipe.data import Pool
from easel_shapes.recipe.muon import Muon
from easel_shapes.recipe.networks import (
    PromptReader,
    Vocabulary,
    build_text_encoder,
    build_unet,
    find_vocabulary,
)
from easel_shapes.recipe.train_vae import encode

PEAK_RATE = 8e-4
_BATCH_AREA = 32 * 16 * 16  # latent places in a step of all members: 32 pictures of 128 x 128
_EMA = 0.999
_NO_PROMPT = 0.1  # captions left out, for classifier-free guidance
_STRANGE_WORDS = 0.04  # captions with words that the model does not know, so that these disturb nothing
_SNR_CAP = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting"
# The last training level still holds a trace of the picture, sampling starts without one. Pure noise in its
# place now and then teaches to begin from nothing, black and white backgrounds included.
_PURE_NOISE_FROM = 920
_PURE_NOISE = 0.35
_SAVE_EVERY_S = 120.0

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
        name = f"latents-{fingerprint}-{pool.width}x{pool.height}-{len(pool.scenes)}.pt"
        if (folder / name).is_file():
            latents.append(torch.load(folder / name, weights_only=True))
            continue
        encoded = encode(vae, pool.pictures, device)
        sitting.save(folder / name, {"latents": encoded})
        latents.append({"latents": encoded})
    return [entry["latents"] for entry in latents]


class Trainee:
    """The two networks, their running means, and the optimizer; what a sitting leaves to the next."""

    def __init__(self, vocabulary: Vocabulary, device: torch.device) -> None:
        self.vocabulary = vocabulary
        self.unet = build_unet(training=True).to(device, memory_format=torch.channels_last)
        self.text_encoder = build_text_encoder(vocabulary.rows).to(device)
        self.both = torch.nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})
        self.optimizer = Muon(self.both)
        self.mean = {name: tensor.detach().clone() for name, tensor in self.both.named_parameters()}
        self.steps = 0

    def average(self) -> None:
        """One more step into the running mean; the first steps weigh less than the rate would let them."""
        keep = min(_EMA, (1 + self.steps) / (10 + self.steps))
        own = [tensor.detach() for tensor in self.both.parameters()]
        torch._foreach_lerp_(list(self.mean.values()), own, 1 - keep)
        self.steps += 1

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {
            "networks": self.both.state_dict(),
            "mean": self.mean,
            "optimizer": self.optimizer.state_dict(),
            "tokens": list(self.vocabulary.tokens),
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier sitting."""
        self.both.load_state_dict(state["networks"])
        self.mean = state["mean"]
        if state["optimizer"] is not None:  # None: the sitting begins from a shipped model
            self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]


def train_denoiser(
    folder: Path,
    pools: Sequence[Pool],
    latents: Sequence[torch.Tensor],
    *,
    seed: int,
    steps: int | None,
    minutes: float | None,
    device: torch.device,
    peak: float = PEAK_RATE,
    focus: bool = False,
) -> sitting.Sitting:
    """One sitting; goes on from `folder`/denoiser.pt where there is one, and ends by writing it.

    `focus` shows mostly single plain shapes, on which a young model learns the shape words soonest.
    """
    path = folder / "denoiser.pt"
    before = sitting.load(path, device)
    torch.manual_seed(seed)
    vocabulary = find_vocabulary() if before is None else Vocabulary(tuple(before["tokens"]))
    trainee = Trainee(vocabulary, device)
    if before is not None:
        trainee.restore(before)
    torch.manual_seed(1000 * seed + 17 * trainee.steps + team.rank())
    rng = Random(f"{seed} {trainee.steps} {team.rank()}")  # noqa: S311 - captions are no secrets
    batches = Batches(pools, latents, vocabulary, rng, area=_BATCH_AREA // team.size(), focus=focus)
    kept = alphas_cumprod().to(device)
    # Momentum that was kept needs little warming up.
    warm_up = 20 if before is not None and before["optimizer"] is not None else 200
    now = sitting.Sitting("denoiser", steps=steps, minutes=minutes, quiet=team.rank() > 0)
    saved = time.monotonic()
    part = 0.0
    while part < 1:
        clean, rows = batches.draw()
        clean = clean.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            loss = denoiser_loss(trainee.unet, trainee.text_encoder, clean, rows.to(device), kept)
        torch.autograd.backward(loss)
        # One clock for all members: they must stop after the same step.
        now.count(float(loss.detach()))
        part = team.average_gradients(trainee.both, now.part)
        torch.nn.utils.clip_grad_norm_(trainee.both.parameters(), 1.0)
        trainee.optimizer.step(sitting.rate(part, now.done, peak=peak, warm_up=warm_up, flat=0.7))
        trainee.average()
        # A mean of ones is 1 exactly, and every member ends by itself once all of them are over.
        if team.rank() == 0 and (time.monotonic() - saved > _SAVE_EVERY_S or part >= 1):
            saved = time.monotonic()
            sitting.save(path, trainee.state())
    return now


def denoiser_loss(
    unet: Any, text_encoder: Any, clean: torch.Tensor, rows: torch.Tensor, kept: torch.Tensor
) -> torch.Tensor:
    """The weighted error of the predicted velocity (Salimans & Ho 2022) for a batch of latents.

    The weight of level t is min(SNR + 1, 5) / (SNR + 1): 1 where the layout is decided, less where only the
    last traces of noise are left (min-SNR, in its form for velocities whose weight does not vanish at high
    noise).
    """
    count = len(clean)
    # One level from each of `count` equal parts of the schedule: the same distribution, less variance.
    spread = (torch.arange(count, device=clean.device) + torch.rand(count, device=clean.device)) / count
    timesteps = (spread * _TIMESTEPS).long().clamp(max=_TIMESTEPS - 1)
    signal = kept[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - kept[timesteps]).sqrt()[:, None, None, None]
    noise = torch.randn_like(clean)
    noisy = signal * clean + sigma * noise
    velocity = signal * noise - sigma * clean
    pure = (timesteps >= _PURE_NOISE_FROM) & (torch.rand(count, device=clean.device) < _PURE_NOISE)
    noisy = torch.where(pure[:, None, None, None], noise, noisy)
    context = text_encoder(rows).last_hidden_state
    predicted = unet(noisy, timesteps, context, return_dict=False)[0]
    inverse = 1 / (1 - kept[timesteps])  # SNR + 1
    weight = inverse.clamp(max=_SNR_CAP) / inverse
    errors: torch.Tensor = (predicted.float() - velocity).square().mean(dim=(1, 2, 3))
    return (errors * weight).mean()


class Batches:
    """Latents and freshly worded captions, one size at a time, in proportion to the pools."""

    def __init__(
        self,
        pools: Sequence[Pool],
        latents: Sequence[torch.Tensor],
        vocabulary: Vocabulary,
        rng: Random,
        *,
        area: int = _BATCH_AREA,
        focus: bool = False,
    ) -> None:
        self._area = area
        self._chosen = [[*_in_focus(pool)] if focus else [*range(len(pool.scenes))] for pool in pools]
        self._pools, self._latents, self._rng = pools, latents, rng
        self._unknown = vocabulary.unknown
        self._read = PromptReader(vocabulary)
        self._weights = [len(pool.scenes) for pool in pools]
        self._decks: list[list[int]] = [[] for _ in pools]

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents, rows of the text encoder's table)."""
        which = self._rng.choices(range(len(self._pools)), weights=self._weights)[0]
        pool, latents = self._pools[which], self._latents[which]
        count = max(1, round(self._area / (latents.shape[-1] * latents.shape[-2])))
        deck = self._decks[which]
        while len(deck) < count:  # every picture once before any comes again
            fresh = self._chosen[which].copy()
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
        return latents[np.array(picked)], rows


def _in_focus(pool: Pool) -> Iterator[int]:
    """Single plain shapes, and every sixth of the other scenes, so that nothing is forgotten."""
    for index, scene in enumerate(pool.scenes):
        if (scene.layout == "single" and scene.items[0].fill == "plain") or index % 6 == 0:
            yield index
