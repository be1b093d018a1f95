"""Trains the ControlNet: outlines decide where and which shape appears.

Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models", in the small form of a
control-LoRA: of the copied encoder only a low-rank difference to the UNet's own weights is trained and kept,
beside the layers that are new (the hint encoder and the projections onto the skips) and the small vectors.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor

from easel_shapes.recipe import control_data, low_rank, sitting
from easel_shapes.recipe.base import Base
from easel_shapes.recipe.companion_trainee import CompanionTrainee
from easel_shapes.recipe.train_denoiser import add_noise, alphas_cumprod

RANK = 8
HINT_CHANNELS = (8, 16, 32, 64)
_NEW = ("controlnet_cond_embedding.", "controlnet_down_blocks.", "controlnet_mid_block.")
_PEAK_RATE = 2e-3
_BATCH_AREA = 16 * 16 * 16  # latent places: 16 pictures of 128 x 128
# Mou et al. 2023, "T2I-Adapter": outlines matter while there is much noise, so there are more steps there.
_SKEW = 2.0
_MEAN_KEPT = 0.998
_HINT_STD = 0.4  # of the encoded outlines, beside the UNet's first features


class ControlTrainee(CompanionTrainee):
    """A ControlNet on a frozen UNet, the running means of what is trained of it, and the optimizer."""

    def __init__(self, base: Base, device: torch.device) -> None:
        network = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=HINT_CHANNELS)
        network.set_attn_processor(AttnProcessor())
        self.differences = low_rank.attach(network, lambda name: not name.startswith("controlnet_"), RANK)
        self.network: Any = network.to(device, memory_format=torch.channels_last)
        for name, tensor in network.named_parameters():
            tensor.requires_grad_(name.startswith(_NEW) or name.endswith((".up", ".down")) or tensor.ndim < 2)
        trained = {name: t for name, t in network.named_parameters() if t.requires_grad}
        super().__init__(trained, mean_kept=_MEAN_KEPT)

    @torch.no_grad()
    def start_hint_encoder(self, hints: torch.Tensor) -> None:
        """Scale the hint encoder so that every layer answers outlines with a variance of one.

        Its eight layers would otherwise shrink thin lines to nothing, and with a last layer of zeros the
        gradient needs thousands of steps to find them (Mishkin & Matas 2016, "All you need is a good init").
        """
        encoder = self.network.controlnet_cond_embedding
        torch.nn.init.normal_(encoder.conv_out.weight, std=0.05)
        flowing = hints
        for layer in (encoder.conv_in, *encoder.blocks, encoder.conv_out):
            torch.nn.init.zeros_(layer.bias)
            wanted = _HINT_STD if layer is encoder.conv_out else 1.0
            layer.weight.mul_(wanted / layer(flowing).std())
            flowing = torch.nn.functional.silu(layer(flowing))
        self.begin_means()


def load_control(folder: Path, base: Base, device: torch.device) -> ControlTrainee:
    """The finished ControlNet of `folder`/control.pt: its running means. Raises `FileNotFoundError`."""
    state = sitting.load(folder / "control.pt", device)
    if state is None:
        raise FileNotFoundError(f"{folder / 'control.pt'} is missing: train the ControlNet first")
    trainee = ControlTrainee(base, device)
    trainee.restore(state, means=True)
    return trainee


def train_control(
    folder: Path,
    base: Base,
    pools: dict[tuple[int, int], control_data.ControlPool],
    *,
    seed: int,
    budget: sitting.Budget,
    device: torch.device,
) -> sitting.Sitting:
    """One sitting; goes on from `folder`/control.pt where there is one, and ends by writing it."""
    path = folder / "control.pt"
    torch.manual_seed(seed)
    trainee = ControlTrainee(base, device)
    before = sitting.load(path, device)
    if before is not None:
        trainee.restore(before)
    rng = Random(f"control {seed} {trainee.steps}")  # noqa: S311 - captions are no secrets
    torch.manual_seed(1000 * seed + 17 * trainee.steps)
    batches = control_data.ControlBatches(pools, rng, area=_BATCH_AREA)
    kept = alphas_cumprod().to(device)
    if before is None:
        trainee.start_hint_encoder(batches.draw()[2].to(device))
    now = sitting.Sitting("control", budget, before=trainee.steps)
    started = saved = time.monotonic()
    earlier = trainee.seconds
    while now.part < 1:
        clean, context, hints = batches.draw()
        clean = clean.to(device, memory_format=torch.channels_last)
        hints = hints.to(device, memory_format=torch.channels_last)
        noised, context = add_noise(clean, kept, skew=_SKEW), context.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            down, middle = trainee.network(
                noised.noisy, noised.timesteps, context, controlnet_cond=hints, return_dict=False
            )
            (predicted,) = base.unet(
                noised.noisy,
                noised.timesteps,
                context,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )
        loss = noised.loss(predicted)
        trainee.learn(loss, sitting.rate(now.part, now.done, peak=_PEAK_RATE, warm_up=50, flat=0.6))
        now.count(float(loss.detach()))
        if time.monotonic() - saved > sitting.SAVE_EVERY_S or now.part >= 1:
            saved = time.monotonic()
            trainee.seconds = earlier + saved - started
            sitting.save(path, trainee.state())
    return now
