"""Inpainting that leaves the latent outside of the mask alone."""

from __future__ import annotations

import torch

from easel_worker.diffusion.guidance_hooks import GuidanceHooks
from easel_worker.diffusion.known_latent import keep_known


def test_only_latents_under_the_mask_change() -> None:
    hooks, known = GuidanceHooks(), torch.full((1, 4, 4, 4), 5.0)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:16, 15:17] = 1.0  # a line of pixels on both sides of a latent's border
    keep_known(hooks, known, mask)
    assert hooks.blend_denoised is not None
    kept = hooks.blend_denoised(torch.zeros(2, 4, 4, 4), 1.0)
    expected = torch.full((4, 4), 5.0)
    expected[1, 1:3] = 0.0
    assert torch.equal(kept, expected.expand(2, 4, -1, -1))


def test_what_the_hooks_did_before_is_done_first() -> None:
    hooks = GuidanceHooks(blend_denoised=lambda latent, sigma: latent + sigma)
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0] = 1.0
    keep_known(hooks, torch.zeros(1, 4, 2, 2), mask)
    assert hooks.blend_denoised is not None
    kept = hooks.blend_denoised(torch.ones(1, 4, 2, 2), 2.0)
    assert kept[0, 0].tolist() == [[3.0, 0.0], [3.0, 0.0]]
