"""References: what a pass sees of them, and what pictures of the shipped model take over."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from easel_worker.diffusion.attention.attach import attention_units
from easel_worker.diffusion.attention.units import Reference, ReferenceKind
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.encode import encode
from easel_worker.diffusion.guidance_hooks import GuidanceHooks, Residuals

from ...looking import look
from ..diffusion.small_models import KINDS, write_folder
from ..diffusion.test_tiling import snapshot
from .conftest import CPU
from .small_pass import SIGMA, call, guidance, noise, picture

CLOSE: dict[str, Any] = {"atol": 2e-4, "rtol": 1e-4}
ALL: tuple[ReferenceKind, ...] = ("reference_only", "reference_adain", "reference_adain+attn")


def latents(images: int = 1, seed: int = 40, size: int = 8) -> torch.Tensor:
    return torch.randn((images, 4, size, size), generator=torch.Generator().manual_seed(seed))


def reference(kind: ReferenceKind = "reference_only", **more: Any) -> Reference:
    return Reference(kind, **{"latent": latents(), "noise": latents(seed=41), **more})


@pytest.mark.parametrize("kind", ALL)
def test_a_picture_that_is_its_own_reference_stays_as_it_is(
    kind: ReferenceKind, checkpoint: Checkpoint
) -> None:
    """Every key twice is attention to each once, and a feature has its own mean and deviation."""
    x = noise()
    data = latents()
    own = reference(kind, latent=data, noise=(x - data) / SIGMA, style_fidelity=0.0, weight=2.0)
    torch.testing.assert_close(call(checkpoint, [own], x), call(checkpoint, x=x), **CLOSE)
    assert (call(checkpoint, [reference(kind, weight=2.0)], x) - call(checkpoint, x=x)).abs().max() > 0.01


@pytest.mark.parametrize("kind", ALL)
def test_style_fidelity_is_how_far_the_negative_prompt_goes_without(
    kind: ReferenceKind, checkpoint: Checkpoint
) -> None:
    def drawn(scale: float, **more: Any) -> torch.Tensor:
        return call(checkpoint, [reference(kind, **more)], scale=scale)

    full = {"style_fidelity": 1.0}
    torch.testing.assert_close(drawn(0.0, **full), call(checkpoint, scale=0.0), **CLOSE)
    torch.testing.assert_close(drawn(1.0, **full), drawn(1.0, style_fidelity=0.0), **CLOSE)
    half, none = drawn(0.0, style_fidelity=0.5), drawn(0.0, style_fidelity=0.0)
    assert not torch.equal(half, none)
    assert torch.equal(drawn(4.0, mode="prompt"), drawn(4.0, style_fidelity=0.0))
    assert torch.equal(drawn(4.0, mode="control"), drawn(4.0, **full))


@pytest.mark.parametrize("kind", ALL)
def test_weight_zero_and_outside_its_window_is_none(kind: ReferenceKind, checkpoint: Checkpoint) -> None:
    x = noise()
    plain = call(checkpoint, x=x)
    assert torch.equal(call(checkpoint, [reference(kind, weight=0.0)], x), plain)
    model, seen = guidance(checkpoint), []
    with attention_units(model, [reference(kind, start=0.25, end=0.5)]):
        for done in range(4):
            model.step_done(done, 4)
            seen.append(torch.equal(model(x, SIGMA), plain))
    assert seen == [True, False, False, True]


def test_weight_says_how_many_blocks_take_part(checkpoint: Checkpoint) -> None:
    def hooked(kind: ReferenceKind, weight: float) -> int:
        before = _hooks(checkpoint)
        with attention_units(guidance(checkpoint), [reference(kind, weight=weight)]):
            return _hooks(checkpoint) - before

    attentions = sum(name.endswith("attn1") for name, _ in checkpoint.unet.named_modules())
    counts = [hooked("reference_only", weight) for weight in (0.0, 0.1, 0.5, 1.0, 2.0)]
    assert counts == [0, 1, (attentions + 1) // 2, attentions, attentions]
    features = [hooked("reference_adain", weight) for weight in (0.0, 0.1, 1.0, 2.0)]
    assert features[:2] == [0, 3]  # the middle, and the first level of the way up, at once
    assert features[1] < features[2] < features[3]


def _hooks(checkpoint: Checkpoint) -> int:
    return sum(len(module._forward_hooks) for module in checkpoint.unet.modules())


def test_rows_of_a_batch_are_as_alone(checkpoint: Checkpoint) -> None:
    """Each picture has its own noise, and here its own reference."""
    x, shown, levels = noise(2), latents(2), latents(2, seed=41)
    prompts = ["a cat AND a dog", "a house"]
    together = call(checkpoint, [reference(latent=shown, noise=levels)], x, prompts=prompts)
    for i, text in enumerate(prompts):
        one = reference(latent=shown[i : i + 1], noise=levels[i : i + 1])
        alone = call(checkpoint, [one], x[i : i + 1], prompts=[text])
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)


def test_several_references_are_seen_beside_each_other(checkpoint: Checkpoint) -> None:
    """Twice the same changes what the picture sees, not what each of them writes."""
    one, other = reference(), reference(latent=latents(seed=7))
    both = call(checkpoint, [one, other])
    torch.testing.assert_close(both, call(checkpoint, [other, one]), **CLOSE)
    assert not torch.equal(both, call(checkpoint, [one]))


def test_the_reference_is_seen_without_residuals_and_of_another_size(checkpoint: Checkpoint) -> None:
    hooks = GuidanceHooks()
    zero = Residuals(within=[torch.zeros(1)] * 4)
    hooks.residuals.append(lambda inputs: zero)
    seen: list[tuple[tuple[int, ...], set[str]]] = []
    handle = checkpoint.unet.register_forward_pre_hook(
        lambda module, inputs, named: seen.append((tuple(inputs[0].shape), set(named))), with_kwargs=True
    )
    large = reference(latent=latents(size=16), noise=latents(seed=41, size=16))
    call(checkpoint, [large], hooks=hooks)
    handle.remove()
    assert seen[0] == ((2, 4, 16, 16), {"return_dict"})
    assert seen[1][0] == (2, 4, 8, 8)
    assert "down_intrablock_additional_residuals" in seen[1][1]


def test_an_inpainting_model_is_shown_the_reference_as_nothing_to_paint(tmp_path: Path) -> None:
    folder = write_folder(KINDS["sd1-inpainting"], tmp_path / "tiny-inpainting")
    model = load_checkpoint(folder, device=CPU, dtype=torch.float32)
    seen: list[torch.Tensor] = []
    handle = model.unet.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    call(model, [reference()], picture=torch.ones(1, 5, 8, 8))
    handle.remove()
    assert seen[0][:, 4].abs().max() == 0
    torch.testing.assert_close(seen[0][:, 5:], latents().expand(2, -1, -1, -1))
    assert seen[1][:, 4:].min() == 1


def test_a_refiner_goes_without(checkpoint: Checkpoint) -> None:
    x = noise()
    other = dataclasses.replace(checkpoint, unet=copy.deepcopy(checkpoint.unet))
    model, plain = guidance(checkpoint), call(checkpoint, x=x)
    with attention_units(model, [reference()]):
        assert not torch.equal(model(x, SIGMA), plain)
        model.switch(other, model._conditioning)
        assert torch.equal(model(x, SIGMA), plain)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_afterwards_the_model_is_as_before(
    kind: ReferenceKind, fails: bool, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(checkpoint)  # what is made at the first call is there
    before = snapshot(checkpoint.unet)
    model = guidance(checkpoint)
    try:
        with attention_units(model, [reference(kind), reference(kind)]):
            assert snapshot(checkpoint.unet) != before
            if fails:
                with monkeypatch.context() as patch:
                    patch.setattr(torch.nn.functional, "silu", None)  # the pass stops in its middle
                    model(noise(), SIGMA)
    except TypeError:
        assert fails
    assert snapshot(checkpoint.unet) == before
    assert not model.hooks.before_forward


def test_a_picture_takes_the_colours_of_its_reference(shapes: Checkpoint) -> None:
    """Without words, and where the prompt leaves them open; what it says of them is obeyed."""
    shown = Image.new("RGB", (128, 128), (35, 72, 222))
    ImageDraw.Draw(shown).ellipse((30, 30, 98, 98), fill=(222, 35, 40))
    unit = reference(latent=encode(shapes, [shown]), noise=latents(seed=99, size=16))
    assert look(picture(shapes, "", seed=1)).background != "blue"
    sight = look(picture(shapes, "", [unit], seed=1))
    assert (sight.background, sight.main.colour) == ("blue", "red")
    star = look(picture(shapes, "a green star", [unit], seed=1))
    assert (star.background, star.main.colour, star.main.shape) == ("blue", "green", "star")
