"""What joins guidance from outside: masks, a refiner, ControlNets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.guidance import Guidance
from easel_worker.diffusion.guidance_hooks import (
    GuidanceHooks,
    RefinerSwitch,
    Residuals,
    Successor,
    UNetInput,
    keep_unmasked,
    keep_unmasked_input,
)

from .guiding import CLOSE, SIGMA, noise, predict, prompts, text, with_unet


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_masks(prediction: Any, checkpoint: Checkpoint) -> None:
    model = dataclasses.replace(checkpoint, prediction_type=prediction)
    x, init, conditioning = noise(), noise(seed=1), prompts(checkpoint, "a cat")
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    mask[..., 4] = 0.5
    plain = Guidance(model, conditioning)
    after = Guidance(model, conditioning, hooks=GuidanceHooks(blend_denoised=keep_unmasked(init, mask)))
    torch.testing.assert_close(after(x, SIGMA), plain(x, SIGMA) * mask + init * (1 - mask), **CLOSE)
    before = Guidance(model, conditioning, hooks=GuidanceHooks(blend_input=keep_unmasked_input(init, mask)))
    seen = x * mask + init * (SIGMA**2 + 1) ** 0.5 * (1 - mask)
    found_noise = (seen - plain(seen, SIGMA)) / SIGMA
    torch.testing.assert_close(before(x, SIGMA), x - SIGMA * found_noise, atol=1e-3, rtol=1e-3)


def test_another_model_takes_over(checkpoint: Checkpoint) -> None:
    refiner = with_unet(checkpoint)
    x = noise()
    conditioning = prompts(checkpoint, "a cat")
    loaded: list[int] = []

    def load() -> Any:
        loaded.append(1)
        return Successor(refiner, prompts(refiner, "a dog"))

    # (999 - t) / 1000 of these four: 0, 0.25, 0.5 and 0.75.
    sigmas = [float(checkpoint.sigmas.table[t]) for t in (999, 749, 499, 249)]
    guidance = Guidance(
        checkpoint, conditioning, hooks=GuidanceHooks(before_call=[RefinerSwitch(0.5, load)]), calls=4
    )
    by_steps = Guidance(
        checkpoint,
        conditioning,
        hooks=GuidanceHooks(before_call=[RefinerSwitch(0.75, load, by_steps=True)]),
        calls=4,
    )
    for i, sigma in enumerate(sigmas):
        first = Guidance(checkpoint, conditioning)(x, sigma)
        second = Guidance(refiner, prompts(refiner, "a dog"))(x, sigma)
        torch.testing.assert_close(guidance(x, sigma), second if i >= 2 else first, **CLOSE)
        torch.testing.assert_close(by_steps(x, sigma), second if i >= 3 else first, **CLOSE)
    assert len(loaded) == 2
    assert guidance.checkpoint is refiner


def test_residuals_of_controlnets_are_summed(checkpoint: Checkpoint) -> None:
    torch.manual_seed(3)
    with torch.inference_mode(False):
        control = ControlNetModel.from_unet(checkpoint.unet).eval().requires_grad_(False)
        for block in (*control.controlnet_down_blocks, control.controlnet_mid_block):
            torch.nn.init.normal_(block.weight, std=0.05)
    edges = torch.rand(1, 3, 64, 64)
    x, seen = noise(), []

    def residuals(inputs: UNetInput) -> Residuals:
        seen.append((inputs.call, inputs.rows.kinds, inputs.sample.shape))
        down, middle = control(
            inputs.sample,
            inputs.timesteps,
            inputs.rows.context,
            edges.expand(len(inputs.sample), -1, -1, -1),
            return_dict=False,
        )
        return Residuals(down, middle)

    conditioning = prompts(checkpoint, "a cat")
    plain = Guidance(checkpoint, conditioning)(x, SIGMA)
    hooks = GuidanceHooks(residuals=[residuals, lambda inputs: None, residuals])
    got = Guidance(checkpoint, conditioning, hooks=hooks)(x, SIGMA)
    timestep = torch.tensor([checkpoint.sigmas.timestep(SIGMA)])
    predictions = []
    for words in ("a cat", "blurry"):
        context = text(checkpoint, words)
        down, mid = control(x / (SIGMA**2 + 1) ** 0.5, timestep, context, edges, return_dict=False)
        predictions.append(
            predict(
                checkpoint,
                x,
                context,
                down_block_additional_residuals=tuple(2 * d for d in down),
                mid_block_additional_residual=2 * mid,
            )
        )
    cond, uncond = predictions
    torch.testing.assert_close(got, uncond + 7 * (cond - uncond), **CLOSE)
    assert float((got - plain).abs().max()) > 0.1
    assert seen == [(0, ("positive", "negative"), (2, 4, 8, 8))] * 2
    silent = Guidance(checkpoint, conditioning, hooks=GuidanceHooks(residuals=[lambda inputs: None]))
    assert torch.equal(silent(x, SIGMA), plain)
