"""Latents become pictures, also where a VAE in half precision overflows."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.errors import NanError


@torch.inference_mode()
def test_a_vae_that_overflows_in_half_precision_is_run_again_in_32_bits(checkpoint: Checkpoint) -> None:
    vae = deepcopy(checkpoint.vae)
    vae.decoder.conv_in.weight.data.mul_(1e6 / vae.decoder.conv_in.weight.abs().max()).clamp_(-6e4, 6e4)
    full = replace(checkpoint, vae=vae)
    half = replace(checkpoint, vae=deepcopy(vae).half(), dtype=torch.float16)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    with pytest.raises(NanError, match="the VAE"):
        decode(half, latents)
    again = decode(half, latents, fall_back=True)
    assert np.abs(again.astype(int) - decode(full, latents).astype(int)).max() <= 3, "rounded weights apart"
    assert half.vae.dtype is torch.float16, "the model itself is as it was"
