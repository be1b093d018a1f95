"""Whole passes with control against diffusers' pipelines, on the same models, noise and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.control import ControlArgs, control_hook, load_control
from easel_worker.diffusion.noise import NoiseSource

from ...small_models.control import (
    small_adapter,
    small_controlnet,
    small_union,
    write_diffusers_file,
    write_original_adapter,
    write_original_file,
)
from .asking import CPU, SIDE, encode, picture, sample

STEPS, GUIDANCE = 4, 4.0
CLOSE: dict[str, Any] = {"atol": 1e-2, "rtol": 1e-3}
"""Latents whose values reach 4, after four steps of a network that was never trained to forgive rounding."""
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def hook(path: Path, checkpoint: Checkpoint, hint: torch.Tensor, **args: Any) -> Any:
    model = load_control(path, device=CPU, dtype=torch.float32)
    return control_hook(model, hint, ControlArgs(**args), checkpoint)


def by_diffusers(pipeline: Any, checkpoint: Checkpoint, **more: Any) -> torch.Tensor:
    """The latents of diffusers' pipeline: Euler, the noise and texts of `sample`."""
    noise = NoiseSource([0], (4, SIDE // 8, SIDE // 8), device=CPU)()
    texts = [encode(checkpoint, text) for text in ("a cat", "blurry")]
    parts: dict[str, Any] = {
        "unet": checkpoint.unet,
        "vae": checkpoint.vae,
        "text_encoder": checkpoint.text_encoder,
        "tokenizer": checkpoint.tokenizer,
        "scheduler": EulerDiscreteScheduler(
            **SCHEDULER,
            timestep_spacing="linspace",
            prediction_type=checkpoint.prediction_type,
        ),
    }
    asked: dict[str, Any] = {
        "prompt_embeds": texts[0].context,
        "negative_prompt_embeds": texts[1].context,
        "latents": noise,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "output_type": "latent",
    }
    if checkpoint.size_numbers:
        parts |= {
            "text_encoder_2": checkpoint.text_encoder_2,
            "tokenizer_2": checkpoint.tokenizer_2,
        }
        asked |= {
            "pooled_prompt_embeds": texts[0].pooled,
            "negative_pooled_prompt_embeds": texts[1].pooled,
        }
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    networks = {name: more.pop(name) for name in ("controlnet", "adapter") if name in more}
    pipe = pipeline(**parts, **networks)
    pipe.set_progress_bar_config(disable=True)
    drawn: torch.Tensor = pipe(**asked, **more, return_dict=False)[0]
    return drawn


def assert_drawn(expected: torch.Tensor, checkpoint: Checkpoint, *hooks: Any) -> None:
    """That a pass with these hooks is as expected, and that without control or with other hints it is not."""
    found = sample(checkpoint, *hooks)
    torch.testing.assert_close(found, expected, **CLOSE)
    black = torch.zeros(1, 3, SIDE, SIDE)
    others = [control_hook(one.model, black, one.args, checkpoint) for one in hooks]
    for other in (sample(checkpoint), sample(checkpoint, *others)):
        assert float((found - other).abs().max()) > 20 * CLOSE["atol"]


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_a_controlnet(family: str, checkpoint_of: Callable[[str], Checkpoint], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(family)
    net = small_controlnet(checkpoint.unet)
    path = write_original_file(net, tmp_path / "c.safetensors")
    expected = by_diffusers(
        StableDiffusionControlNetPipeline,
        checkpoint,
        controlnet=net,
        image=picture(),
        controlnet_conditioning_scale=0.8,
    )
    assert_drawn(expected, checkpoint, hook(path, checkpoint, picture(), weight=0.8))


def test_two_controlnets(sd1: Checkpoint, tmp_path: Path) -> None:
    nets = [small_controlnet(sd1.unet, seed) for seed in (1, 2)]
    hints, weights = [picture(1), picture(2)], [0.7, 0.4]
    hooks = [
        hook(write_original_file(net, tmp_path / f"{place}.safetensors"), sd1, hint, weight=weight)
        for place, (net, hint, weight) in enumerate(zip(nets, hints, weights, strict=True))
    ]
    expected = by_diffusers(
        StableDiffusionControlNetPipeline,
        sd1,
        controlnet=nets,
        image=hints,
        controlnet_conditioning_scale=weights,
    )
    assert_drawn(expected, sd1, *hooks)


def test_a_controlnet_for_sdxl(sdxl: Checkpoint, tmp_path: Path) -> None:
    net = small_controlnet(sdxl.unet)
    path = write_original_file(net, tmp_path / "c.safetensors")
    expected = by_diffusers(
        StableDiffusionXLControlNetPipeline,
        sdxl,
        controlnet=net,
        image=picture(),
        controlnet_conditioning_scale=1.0,
    )
    assert_drawn(expected, sdxl, hook(path, sdxl, picture()))


def test_a_union_model(sdxl: Checkpoint, tmp_path: Path) -> None:
    net = small_union(sdxl.unet)
    path = write_diffusers_file(net, tmp_path / "u.safetensors")
    expected = by_diffusers(
        StableDiffusionXLControlNetUnionPipeline,
        sdxl,
        controlnet=net,
        control_image=[picture()],
        control_mode=[1],
        controlnet_conditioning_scale=0.9,
    )
    assert_drawn(expected, sdxl, hook(path, sdxl, picture(), union_type="Depth", weight=0.9))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_an_adapter(family: str, checkpoint_of: Callable[[str], Checkpoint], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(family)
    large = family == "sdxl"
    channels = (32, 64, 64, 64) if large else (32, 64, 64, 128)
    adapter = small_adapter(channels, "full_adapter_xl" if large else "full_adapter")
    path = write_original_adapter(adapter, tmp_path / "t2i.safetensors")
    expected = by_diffusers(
        StableDiffusionXLAdapterPipeline if large else StableDiffusionAdapterPipeline,
        checkpoint,
        adapter=adapter,
        image=picture(),
        adapter_conditioning_scale=0.9,
        height=SIDE,
        width=SIDE,
    )
    assert_drawn(expected, checkpoint, hook(path, checkpoint, picture(), weight=0.9))
