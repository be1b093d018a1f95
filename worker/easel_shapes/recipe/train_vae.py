"""Trains the autoencoder on the drawings, and whitens its latents."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from easel_shapes.recipe import sitting
from easel_shapes.recipe.data import Pool
from easel_shapes.recipe.muon import Muon
from easel_shapes.recipe.networks import SCALING_FACTOR, build_vae

_PEAK_RATE = 1e-3  # 2e-3 and more learn slower
_CROP = 64  # pixels; edges and colours are learned from crops, for a quarter of the time of whole pictures
_CROPS_UNTIL = 0.5  # of a sitting
_BATCH_PIXELS = 8 * 128 * 128 // 2
_SQUARED = 4.0  # weight of the squared error, which is what PSNR counts
_EDGES = 0.5  # weight of the gradient term: thin outlines are few pixels, and a plain L1 gives them up
_KL = 2e-4  # per latent element; enough to keep the latents smooth, too little to blur
# A sampler's latents are never quite those of a drawing. With the encoder fixed, the decoder learns to make
# clean pictures of latents that are off by up to this part of their standard deviation.
_LATENT_NOISE = 0.15


def train_vae(
    folder: Path,
    pools: Sequence[Pool],
    *,
    seed: int,
    budget: sitting.Budget,
    device: torch.device,
    decoder_only: bool = False,
) -> sitting.Sitting:
    """One sitting; goes on from `folder`/vae.pt where there is one, and ends by writing it.

    `decoder_only` leaves the latents as they are, so that a denoiser trained on them stays valid.
    """
    path = folder / "vae.pt"
    torch.manual_seed(seed)
    vae = build_vae().to(device, memory_format=torch.channels_last)
    optimizer = Muon(vae, weight_decay=1e-3)
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(not decoder_only)
    before = sitting.load(path, device)
    counted = "decoder_steps" if decoder_only else "steps"
    steps = {"steps": 0, "decoder_steps": 0}
    if before is not None:
        vae.load_state_dict(before["vae"])
        if before["optimizer"] is not None:  # None: the sitting begins from a shipped model
            optimizer.load_state_dict(before["optimizer"])
        steps = {name: before[name] for name in steps}
    rng = np.random.default_rng((seed, *steps.values()))
    now = sitting.Sitting("decoder" if decoder_only else "vae", budget, before=steps[counted])
    saved = time.monotonic()
    while now.part < 1:
        pictures = _batch(rng, pools, crops=now.part < _CROPS_UNTIL, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(pictures).latent_dist
            latents = _disturbed(posterior.mean) if decoder_only else posterior.sample()
            decoded = vae.decode(latents).sample
        loss, error = vae_loss(pictures, decoded.float(), posterior)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step(sitting.rate(now.part, now.done, peak=_PEAK_RATE))
        now.count(float(loss.detach()), f"squared error {float(error):.5f}")
        if time.monotonic() - saved > sitting.SAVE_EVERY_S or now.part >= 1:
            saved = time.monotonic()
            state = {**steps, counted: steps[counted] + now.done, "vae": vae.state_dict()}
            sitting.save(path, {**state, "optimizer": optimizer.state_dict()})
    return now


def vae_loss(
    pictures: torch.Tensor, decoded: torch.Tensor, posterior: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The training loss, and the plain squared error for the log."""
    error = functional.mse_loss(decoded, pictures)
    loss = functional.l1_loss(decoded, pictures) + _SQUARED * error
    for axis in (-1, -2):
        loss = loss + _EDGES * functional.l1_loss(decoded.diff(dim=axis), pictures.diff(dim=axis))
    return loss + _KL * posterior.kl().mean() / posterior.mean[0].numel(), error.detach()


def _disturbed(latents: torch.Tensor) -> torch.Tensor:
    """The latents with noise, of another strength for each picture, mostly a weak one."""
    strength = _LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, device=latents.device).square()
    spread = latents.float().std(dim=(0, 2, 3), keepdim=True)
    return latents + (strength * spread * torch.randn_like(latents)).to(latents.dtype)


def load_vae(folder: Path, device: torch.device) -> Any:
    """The trained autoencoder as it ships: in evaluation mode, its latents white after the scaling factor.

    Raises `FileNotFoundError` where none was trained in `folder`.
    """
    state = sitting.load(folder / "vae.pt", device)
    if state is None:
        raise FileNotFoundError(f"{folder / 'vae.pt'} is missing: train the VAE first")
    vae = build_vae().to(device, memory_format=torch.channels_last)
    vae.load_state_dict(state["vae"])
    return vae.eval().requires_grad_(False)


def fingerprint(vae: Any) -> str:
    """Twelve hex digits that change with whatever changes the latents. To be taken before `whiten`, whose
    last digits differ between machines."""
    digest = hashlib.sha256()
    for name, tensor in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


@torch.no_grad()
def whiten(vae: Any, pictures: NDArray[np.uint8], device: torch.device) -> None:
    """Fold a linear map into the two quantisation convolutions, so that latents times 0.18215 are white:
    mean 0, covariance the identity over `pictures`, as the denoiser's noise is.

    Pictures decode as before. The posterior's spread, which nothing samples after training, is rescaled per
    channel.
    """
    means = torch.cat([vae.encode(batch).latent_dist.mean for batch in _batches(pictures, device)])
    rows = means.permute(1, 0, 2, 3).flatten(1).double()
    centre = rows.mean(dim=1)
    values, vectors = torch.linalg.eigh(torch.cov(rows))
    # The symmetric root changes the channels least among all maps that whiten.
    whitening = vectors @ torch.diag(values.rsqrt()) @ vectors.T / SCALING_FACTOR
    colouring = torch.linalg.inv(whitening)
    channels = len(centre)
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight, bias = quant.weight.double()[:, :, 0, 0], quant.bias.double()
    weight[:channels], bias[:channels] = (
        whitening @ weight[:channels],
        whitening @ (bias[:channels] - centre),
    )
    bias[channels:] += 2 * torch.log(whitening.diagonal().abs())
    quant.weight.copy_(weight[:, :, None, None])
    quant.bias.copy_(bias)
    weight, bias = post.weight.double()[:, :, 0, 0], post.bias.double()
    post.bias.copy_(bias + weight @ centre)
    post.weight.copy_((weight @ colouring)[:, :, None, None])


@torch.no_grad()
def encode(vae: Any, pictures: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Latents as the UNet sees them: (count, 4, h/8, w/8), float32, on the CPU."""
    latents = []
    for batch in _batches(pictures, device):
        with torch.autocast(device.type, torch.bfloat16):
            mean = vae.encode(batch).latent_dist.mean
        latents.append((mean.float() * SCALING_FACTOR).cpu())
    return torch.cat(latents)


@torch.no_grad()
def psnr(vae: Any, pictures: NDArray[np.uint8], device: torch.device) -> float:
    """Peak signal to noise ratio in dB of encoded and decoded pictures, over all pixels at once."""
    squared = 0.0
    for batch in _batches(pictures, device):
        decoded = vae.decode(vae.encode(batch).latent_dist.mean).sample.clamp(-1, 1)
        squared += float((decoded - batch).square().mean()) * len(batch)
    return 10 * math.log10(4 * len(pictures) / squared)


def to_tensor(pictures: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """(count, h, w, 3) bytes -> (count, 3, h, w) in -1..1."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def _batches(pictures: NDArray[np.uint8], device: torch.device, size: int = 32) -> list[torch.Tensor]:
    return [to_tensor(pictures[first : first + size], device) for first in range(0, len(pictures), size)]


def _batch(
    rng: np.random.Generator, pools: Sequence[Pool], *, crops: bool, device: torch.device
) -> torch.Tensor:
    counts = np.array([len(pool.scenes) for pool in pools], dtype=float)
    pool = pools[int(rng.choice(len(pools), p=counts / counts.sum()))]
    width, height = (_CROP, _CROP) if crops else (pool.width, pool.height)
    picked = rng.integers(len(pool.scenes), size=max(1, round(_BATCH_PIXELS / (width * height))))
    if not crops:
        return to_tensor(pool.pictures[picked], device)
    tops = rng.integers(pool.height - height + 1, size=len(picked))
    lefts = rng.integers(pool.width - width + 1, size=len(picked))
    places = zip(picked, tops, lefts, strict=True)
    cut = [pool.pictures[index, top : top + height, left : left + width] for index, top, left in places]
    return to_tensor(np.stack(cut), device)
