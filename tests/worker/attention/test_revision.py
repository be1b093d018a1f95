"""Revision: a picture's embedding in place of SDXL's pooled text."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from easel_worker.diffusion.attention.attach import attention_units
from easel_worker.diffusion.attention.revision import augmented
from easel_worker.diffusion.attention.units import Revision
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError

from ..diffusion.test_tiling import snapshot
from .small_pass import SIGMA, call, guidance, noise

WIDTH = 64


def embedding(seed: int = 0) -> torch.Tensor:
    return torch.randn((1, WIDTH), generator=torch.Generator().manual_seed(seed))


def told(checkpoint: Checkpoint, *units: Revision) -> tuple[torch.Tensor, torch.Tensor]:
    """What the UNet was told of positive and negative prompt: pooled texts (2, width), contexts."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watch(
        module: object, inputs: tuple[torch.Tensor, ...], named: dict[str, dict[str, torch.Tensor]]
    ) -> None:
        seen.append((named["added_cond_kwargs"]["text_embeds"], inputs[2]))

    model = guidance(checkpoint)
    with attention_units(model, units):
        handle = checkpoint.unet.register_forward_pre_hook(watch, with_kwargs=True)
        model(noise(), SIGMA)
    handle.remove()
    return seen[0]


def test_the_picture_has_its_share_of_the_pooled_text(sdxl: Checkpoint) -> None:
    text, words = told(sdxl)
    for weight, share in ((0.25, 0.75), (1.0, 0.0), (1.5, 0.0)):
        pooled, context = told(sdxl, Revision(embedding(), weight=weight))
        torch.testing.assert_close(pooled[:1], share * text[:1] + weight * embedding())
        assert torch.equal(pooled[1:], text[1:])
        assert torch.equal(context, words)
    pooled, _ = told(sdxl, Revision(embedding(), 0.25), Revision(embedding(1), 0.5))
    torch.testing.assert_close(pooled[:1], 0.25 * text[:1] + 0.25 * embedding() + 0.5 * embedding(1))


def test_each_image_may_have_its_own_picture(sdxl: Checkpoint) -> None:
    both = Revision(torch.cat([embedding(), embedding(1)]), weight=0.5)
    x, prompts = noise(2), ["a cat", "a house"]
    together = call(sdxl, [both], x, prompts=prompts)
    for i in range(2):
        alone = call(sdxl, [Revision(embedding(i), weight=0.5)], x[i : i + 1], prompts=[prompts[i]])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-4)
    shared = call(sdxl, [Revision(embedding(), weight=0.5)], x, prompts=prompts)
    assert (together[1] - shared[1]).abs().max() > 0.001


def test_the_prompt_can_be_ignored(sdxl: Checkpoint) -> None:
    text, words = told(sdxl)
    pooled, context = told(sdxl, Revision(embedding(), weight=0.5, ignore_prompt=True))
    torch.testing.assert_close(pooled[:1], 0.5 * embedding())
    assert context[0].abs().max() == 0
    assert torch.equal(pooled[1:], text[1:])
    assert torch.equal(context[1:], words[1:])


def test_weight_zero_and_outside_its_window_is_none(sdxl: Checkpoint) -> None:
    plain, unit = call(sdxl), Revision(embedding())
    assert not torch.equal(call(sdxl, [unit]), plain)
    before = snapshot(sdxl.unet)
    for none in (dataclasses.replace(unit, weight=0.0), dataclasses.replace(unit, start=0.5)):
        assert torch.equal(call(sdxl, [none]), plain)
    assert snapshot(sdxl.unet) == before


def test_noise_takes_the_pictures_place_by_the_cosine_schedule() -> None:
    shown, other = embedding(), embedding(1)
    assert augmented(shown, other, 0.0) is shown
    torch.testing.assert_close(augmented(shown, other, 1.0), other)
    # Nichol & Dhariwal's alpha bar halfway is cos((0.5 + s) / (1 + s) * pi / 2) ** 2, s = 0.008.
    half = augmented(torch.ones(1, 1), torch.zeros(1, 1), 0.5)
    assert float(half) == pytest.approx(0.7022, abs=2e-3)


def test_what_does_not_fit_is_refused(checkpoint: Checkpoint, sdxl: Checkpoint) -> None:
    unit = Revision(embedding(), field="args[2]")
    with pytest.raises(JobError, match=r"args\[2\]\.module: revision is for SDXL; tiny-random"):
        call(checkpoint, [unit])
    with pytest.raises(JobError, match=r"have 3 features, the pooled text of tiny-xl has 64"):
        call(sdxl, [dataclasses.replace(unit, embedding=torch.zeros(1, 3))])
